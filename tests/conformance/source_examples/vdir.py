"""The `vdir` source: a folder a user, a folder a category, a file an item."""

import os
import shutil

from tests.conformance.source_example import Example, tree_trace
from workers.formats.path_parts import escape
from workers.sources.vdir import Vdir


def write_tree(root, contents):
    """`contents` in the layout `<root>/<escaped user>/<category>/<name>`."""
    for owner, categories in contents.items():
        part = root / escape(owner)
        for category, files in categories.items():
            folder = part / category
            folder.mkdir(parents=True)
            for name, data in files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(data)
        if "%~" in part.name and part.exists():
            (part / ".owner").write_bytes(owner.encode())


class Folders(Example):
    def hold(self, contents):
        self.root = self.folder / "recovered"
        self.root.mkdir()
        write_tree(self.root, contents)

    def kind(self):
        return Vdir(path="recovered")

    def place(self, owner, category, name):
        return self.root / escape(owner) / category / name

    def change(self, owner, category, name):
        path = self.place(owner, category, name)
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes((data[-1] ^ 1,)))
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))

    def damage(self, owner, category, name):
        path = self.place(owner, category, name)
        path.unlink()
        path.symlink_to("/etc/passwd")

    def take_away(self):
        shutil.rmtree(self.root)

    def trace(self):
        return tree_trace(self.root)

    def extra_users(self):
        return ["", "\0", "\ud800"]


EXAMPLES = {"vdir": Folders}
