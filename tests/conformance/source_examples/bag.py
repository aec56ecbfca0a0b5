"""The `bag` source: a bag of the bagit library, one spelled as RFC 8493, one for each user."""

import hashlib
import shutil

import bagit

from tests.conformance.source_example import tree_trace
from tests.conformance.source_examples.vdir import Folders, write_tree
from workers.formats.path_parts import escape
from workers.sources.bag import Bag


def seal(root, algorithm="sha512"):
    """Make a folder with `data` in it a bag, names escaped as RFC 8493 asks."""
    (root / "bagit.txt").write_text("BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")
    lines = []
    for path in sorted((root / "data").rglob("*")):
        if path.is_file():
            name = path.relative_to(root).as_posix().replace("%", "%25")
            name = name.replace("\r", "%0D").replace("\n", "%0A")
            digest = hashlib.new(algorithm, path.read_bytes()).hexdigest()
            lines.append(f"{digest}  {name}\n")
    manifest = root / f"manifest-{algorithm}.txt"
    manifest.write_text("".join(lines))
    digest = hashlib.new(algorithm, manifest.read_bytes()).hexdigest()
    (root / f"tagmanifest-{algorithm}.txt").write_text(f"{digest}  {manifest.name}\n")


class MadeByLibrary(Folders):
    def hold(self, contents):
        self.root = self.folder / "recovered"
        self.root.mkdir()
        write_tree(self.root, contents)
        bagit.make_bag(str(self.root), checksums=["md5", "sha256"])

    def kind(self):
        return Bag(path="recovered")

    def place(self, owner, category, name):
        return self.root / "data" / escape(owner) / category / name

    def damage(self, owner, category, name):
        path = self.place(owner, category, name)
        data = path.read_bytes()
        path.write_bytes(data[:5] + bytes((data[5] ^ 1,)) + data[6:])

    def trace(self):
        return tree_trace(self.root)


class SpelledAsRfc(MadeByLibrary):
    def hold(self, contents):
        self.root = self.folder / "recovered"
        (self.root / "data").mkdir(parents=True)
        write_tree(self.root / "data", contents)
        seal(self.root)


class EachUser(MadeByLibrary):
    def hold(self, contents):
        self.root = self.folder / "recovered"
        self.root.mkdir()
        write_tree(self.folder / "written", contents)
        for part in (self.folder / "written").iterdir():
            shutil.copytree(part, self.root / part.name / "data")
            if (part / ".owner").exists():
                (self.root / part.name / "data" / ".owner").rename(self.root / part.name / ".owner")
            seal(self.root / part.name, "sha256")

    def kind(self):
        return Bag(path="recovered", each_user=True)

    def place(self, owner, category, name):
        return self.root / escape(owner) / "data" / category / name


EXAMPLES = {"bag": MadeByLibrary, "bag-rfc": SpelledAsRfc, "bag-each-user": EachUser}
