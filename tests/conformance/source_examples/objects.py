"""The `objects` source: objects named after users and categories, in a store of their own."""

import obstore

from tests.conformance.source_example import Example
from workers.formats.path_parts import escape
from workers.sources.objects import Objects


class Moto(Example):
    def __init__(self, folder, request):
        super().__init__(folder, request)
        self.store = request.getfixturevalue("moto_store")
        self.bucket = self.store.bucket()
        self.client = self.store.client(self.bucket)

    def hold(self, contents):
        for owner, categories in contents.items():
            part = escape(owner)
            for category, files in categories.items():
                for name, data in files.items():
                    obstore.put(self.client, f"found/{part}/{category}/{name}", data)
            if "%~" in part:
                obstore.put(self.client, f"found/{part}/.owner", owner.encode())

    def kind(self):
        return Objects(
            url=f"s3://{self.bucket}/found",
            endpoint=self.store.endpoint,
            access_key="env:KEY",
            secret_key="env:SECRET",
        )

    def key(self, owner, category, name):
        return f"found/{escape(owner)}/{category}/{name}"

    def change(self, owner, category, name):
        key = self.key(owner, category, name)
        data = bytes(obstore.get(self.client, key).bytes())
        obstore.put(self.client, key, data + b"\n")

    def damage(self, owner, category, name):
        archived = {"Storage-Class": "GLACIER"}
        obstore.put(self.client, self.key(owner, category, name), b"cold", attributes=archived)

    def take_away(self):
        for meta in obstore.list(self.client).collect():
            obstore.delete(self.client, meta["path"])
        self.store.drop(self.bucket)

    def trace(self):
        return sorted(
            (meta["path"], meta["size"], meta["e_tag"], meta["last_modified"])
            for meta in obstore.list(self.client).collect()
        )

    def extra_users(self):
        return ["", "\0", "\ud800"]


EXAMPLES = {"objects": Moto}
