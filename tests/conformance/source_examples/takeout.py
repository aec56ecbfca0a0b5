"""The `takeout` source: extracted, in one archive a user, and in many parts."""

import gzip
import io
import os
import shutil
import tarfile
import zipfile

from tests.conformance.source_example import Example, tree_trace
from workers.formats.path_parts import escape
from workers.sources.takeout import Takeout

PRODUCTS = {
    "contacts": "Kontakte",
    "calendar": "Calendar",
    "notes": "Keep",
    "tasks": "Tâches",
    "photos": "Google Фото",
}


def member(category, name):
    return f"Takeout/{PRODUCTS[category]}/{name}"


class Extracted(Example):
    def hold(self, contents):
        self.root = self.folder / "exports"
        self.root.mkdir()
        for owner, categories in contents.items():
            part = self.root / escape(owner)
            files = {
                member(category, name): data
                for category, found in categories.items()
                for name, data in found.items()
            }
            self.write(part, files)
            if "%~" in part.name:
                part.mkdir(exist_ok=True)
                (part / ".owner").write_bytes(owner.encode())

    def write(self, part, files):
        for name, data in files.items():
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            (part / name).write_bytes(data)

    def kind(self):
        return Takeout(path="exports")

    def change(self, owner, category, name):
        path = self.root / escape(owner) / member(category, name)
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes((data[-1] ^ 1,)))
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))

    def damage(self, owner, category, name):
        path = self.root / escape(owner) / member(category, name)
        path.unlink()
        path.symlink_to("/etc/passwd")

    def take_away(self):
        shutil.rmtree(self.root)

    def trace(self):
        return tree_trace(self.root)

    def extra_users(self):
        return ["", "\0", "\ud800"]


class Zipped(Extracted):
    def archive(self, part):
        return part / "takeout.zip" if "%~" in part.name else part.with_name(part.name + ".zip")

    def write(self, part, files):
        path = self.archive(part)
        path.parent.mkdir(exist_ok=True)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                archive.writestr(name, data)

    def change(self, owner, category, name):
        path = self.archive(self.root / escape(owner))
        with zipfile.ZipFile(path) as archive:
            files = {each: archive.read(each) for each in archive.namelist()}
        data = files[member(category, name)]
        files[member(category, name)] = data[:-1] + bytes((data[-1] ^ 1,))
        self.write(self.root / escape(owner), files)

    def damage(self, owner, category, name):
        path = self.archive(self.root / escape(owner))
        with zipfile.ZipFile(path) as archive:
            place = archive.getinfo(member(category, name)).header_offset
        data = bytearray(path.read_bytes())
        data[place + 30 + len(member(category, name).encode()) + 10] ^= 0xFF
        path.write_bytes(data)


class ManyZips(Zipped):
    def write(self, part, files):
        path = self.archive(part)
        path.parent.mkdir(exist_ok=True)
        for number in (1, 2):
            name = path.with_name(f"{path.name[:-4]}-{number:03}.zip")
            with zipfile.ZipFile(name, "w", zipfile.ZIP_DEFLATED) as archive:
                for index, (each, data) in enumerate(sorted(files.items())):
                    if index % 2 == number - 1:
                        archive.writestr(each, data)

    def part_with(self, owner, name):
        path = self.archive(self.root / escape(owner))
        for found in path.parent.glob(f"{path.name[:-4]}-*.zip"):
            with zipfile.ZipFile(found) as archive:
                if name in archive.namelist():
                    return found
        raise KeyError(name)

    def change(self, owner, category, name):
        path = self.part_with(owner, member(category, name))
        with zipfile.ZipFile(path) as archive:
            files = {each: archive.read(each) for each in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for each, data in files.items():
                archive.writestr(each, data + b" " * (each == member(category, name)))

    def damage(self, owner, category, name):
        path = self.part_with(owner, member(category, name))
        with zipfile.ZipFile(path) as archive:
            place = archive.getinfo(member(category, name)).header_offset
        data = bytearray(path.read_bytes())
        data[place + 30 + len(member(category, name).encode()) + 10] ^= 0xFF
        path.write_bytes(data)


class Tarred(Extracted):
    def archive(self, part):
        return part / "takeout.tgz" if "%~" in part.name else part.with_name(part.name + ".tgz")

    def write(self, part, files, links=()):
        path = self.archive(part)
        path.parent.mkdir(exist_ok=True)
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for name, data in files.items():
                described = tarfile.TarInfo(name)
                described.size = len(data)
                if name in links:
                    described.type, described.linkname = tarfile.SYMTYPE, "/etc/passwd"
                archive.addfile(described, io.BytesIO(data))
        path.write_bytes(gzip.compress(packed.getvalue(), mtime=0))

    def files(self, owner):
        with tarfile.open(self.archive(self.root / escape(owner))) as archive:
            return {each.name: archive.extractfile(each).read() for each in archive}

    def change(self, owner, category, name):
        files = self.files(owner)
        data = files[member(category, name)]
        files[member(category, name)] = data[:-1] + bytes((data[-1] ^ 1,))
        self.write(self.root / escape(owner), files)

    def damage(self, owner, category, name):
        self.write(self.root / escape(owner), self.files(owner), links={member(category, name)})


EXAMPLES = {
    "takeout-extracted": Extracted,
    "takeout-zip": Zipped,
    "takeout-parts": ManyZips,
    "takeout-tgz": Tarred,
}
