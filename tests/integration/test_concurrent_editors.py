"""Users who change, delete and add things while their data are restored, and while that is undone.

On real CardDAV servers and on PostgreSQL; the users' own programs write under the same conditions
that we do, and nobody waits for anybody.
"""

import random
import threading
from contextlib import closing

import pytest
from sqlalchemy import NullPool, create_engine, text

from orchestrator.aftercare import Aftercare
from orchestrator.audit import audit
from orchestrator.books import imbalances
from orchestrator.findings import undone
from orchestrator.lifecycle import RunState
from orchestrator.query import parse
from tests.in_process import Service
from tests.integration.test_dav_target import Installation, card, material

ITEMS = 60
FIRST = 40
"""So many are there when the editor begins."""
DELETABLE = range(20, 34)


class OnDav:
    """Anna's address book, as her phone sees it."""

    def __init__(self, installation):
        self.installation = installation
        self.service, self.folder = installation.service, installation.folder

    def plan(self):
        phases = installation_phases(self.installation.plan())
        return phases.replace("attempts: 3", "attempts: 5")

    def look(self, name):
        there = self.installation.call("GET", "anna", "contacts", f"{name}.vcf")
        return (there.headers["etag"], there.content) if there.is_success else None

    def put(self, name, content, version):
        condition = {"If-None-Match": "*"} if version is None else {"If-Match": version}
        headers = {"Content-Type": "text/vcard", **condition}
        answer = self.installation.call(
            "PUT", "anna", "contacts", f"{name}.vcf", content=content, headers=headers
        )
        return answer.is_success

    def delete(self, name, version):
        headers = {"If-Match": version}
        answer = self.installation.call(
            "DELETE", "anna", "contacts", f"{name}.vcf", headers=headers
        )
        return answer.is_success

    def contents(self):
        found = self.installation.contents("anna", "contacts")
        return {ref.removesuffix(".vcf"): content for ref, content in found.items()}


def installation_phases(plan):
    """The same plan for contacts only."""
    head, _, rest = plan.partition("phases:\n")
    return f"{head}phases:\n  - {{restore: contacts, to: pim}}\n" + rest[rest.index("approvals") :]


class OnPostgres:
    """Anna's rows, as the service's own code sees them."""

    def __init__(self, url, folder):
        self.url, self.folder = url, folder
        self.service = Service(folder)
        self.engine = create_engine(url, poolclass=NullPool)

    def plan(self):
        return f"""
version: 1
name: sql
incident: {{as_of: 2009-10-01T00:00:00Z}}
sources:
  core: {{kind: vdir, path: material}}
targets:
  pim: {{kind: sql, url: "{self.url.replace("+psycopg", "")}"}}
waves: [{{name: everyone}}]
defaults: {{attempts: 5, backoff: 30s..10m, gate: {{failed: 100%}}}}
phases:
  - {{restore: contacts, to: pim}}
approvals: 0
"""

    def execute(self, statement, **given):
        with self.engine.begin() as connection:
            result = connection.execute(text(statement), {"user": "anna", **given})
            return result.fetchall() if result.returns_rows else result.rowcount

    def look(self, name):
        rows = self.execute(
            "SELECT xmin::text, content FROM contacts"
            " WHERE user_id = :user AND ident = :ident AND deleted_at IS NULL",
            ident=name,
        )
        return (rows[0][0], bytes(rows[0][1])) if rows else None

    def put(self, name, content, version):
        given = {"ident": name, "content": content.encode()}
        if version is None:
            return self.execute(
                "INSERT INTO contacts (user_id, ident, media, content, modified, version)"
                " VALUES (:user, :ident, 'text/vcard', :content, now(), 1)"
                " ON CONFLICT DO NOTHING",
                **given,
            )
        return self.execute(
            "UPDATE contacts SET content = :content, modified = now()"
            " WHERE user_id = :user AND ident = :ident AND xmin::text = :version",
            **given,
            version=version,
        )

    def delete(self, name, version):
        return self.execute(
            "UPDATE contacts SET deleted_at = now(), modified = now()"
            " WHERE user_id = :user AND ident = :ident AND xmin::text = :version",
            ident=name,
            version=version,
        )

    def contents(self):
        rows = self.execute(
            "SELECT ident, content FROM contacts WHERE user_id = :user AND deleted_at IS NULL"
        )
        return {ident: bytes(content) for ident, content in rows}


class Editor(threading.Thread):
    """Changes what it sees, deletes some of what was there before, adds its own."""

    def __init__(self, live, seed):
        super().__init__()
        self.live = live
        self.chance = random.Random(seed)
        self.over = threading.Event()
        self.last = {}
        self.deleted = set()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()

    def run(self):
        number = 0
        while not self.over.is_set() or number < 5:
            number += 1
            names = [*(f"c{n}" for n in range(ITEMS)), *(f"own{n}" for n in range(8))]
            name = self.chance.choice(names)
            if name not in self.deleted:
                self.edit(name, number)
            self.over.wait(0.01)

    def edit(self, name, number):
        there = self.live.look(name)
        if there is None and name.startswith("c"):
            return
        if there is not None and name in {f"c{n}" for n in DELETABLE}:
            if self.live.delete(name, there[0]):
                self.deleted.add(name)
                self.last.pop(name, None)
            return
        edit = f"edit {number} of {id(self)}"
        content = card(name, "Hers", note=edit, revised="20091019T000000Z")
        if self.live.put(name, content, None if there is None else there[0]):
            self.last[name] = edit.encode()

    def touched(self):
        return self.last.keys() | self.deleted


@pytest.fixture(params=["radicale", "xandikos", "postgresql"])
def live(request, tmp_path):
    if request.param == "postgresql":
        found = OnPostgres(request.getfixturevalue("fresh_database"), tmp_path)
    else:
        server = request.getfixturevalue(f"{request.param}_server")
        server.start()
        found = OnDav(Installation(server, tmp_path))
    with closing(found.service.work):
        yield found


def restored(live):
    run = live.service.run(live.plan())
    assert live.service.ended(run) is RunState.FINISHED
    assert audit(live.service.ledger, run) == []
    assert imbalances(live.service.status(run).books, settled=True) == []
    return run


def recovered(live, *, first, revised):
    """What the source holds from now on: so many cards, of that revision."""
    material(live.folder, users=["anna"], contacts=first)
    for path in live.folder.rglob("contacts/*.vcf"):
        text = path.read_bytes().replace(b"REV:20090901", b"REV:" + revised)
        path.write_bytes(text.replace(b"NOTE:", b"NOTE:of " + revised))


@pytest.mark.guarantee(5)
@pytest.mark.guarantee(8)
@pytest.mark.guarantee(10)
@pytest.mark.guarantee(13)
def test_what_a_user_changes_adds_or_deletes_meanwhile_stays_also_when_it_is_undone(live):
    recovered(live, first=FIRST, revised=b"20090901")
    restored(live)
    first = live.contents()
    assert len(first) == FIRST
    recovered(live, first=ITEMS, revised=b"20090915")
    with Editor(live, seed=5) as editor:
        run = restored(live)
    assert editor.last
    after = live.contents()
    assert not editor.deleted & after.keys()
    for name, edit in editor.last.items():
        assert b"NOTE:" + edit + b"\r\n" in after[name]
    assert {name for name in after if name.startswith("c")} | editor.deleted == {
        f"c{n}" for n in range(ITEMS)
    }
    untouched = after.keys() - editor.touched()
    assert all(b"NOTE:of 20090915" in after[name] for name in untouched)
    books = live.service.status(run).books
    assert books.restored + books.superseded + books.declined + books.present == ITEMS
    assert books.restored >= len(untouched)

    with Editor(live, seed=6) as another:
        care = Aftercare(live.service.ledger, live.service.sealer)
        query = parse((), live.service.progress.plan(run))
        undo = care.undo(run, query, who="mia", reason="a mistake")
        live.service.go_on()
    found = undone(live.service.status(undo).books)
    assert found["removed"] + found["put_back"] > 0
    now = live.contents()
    for name, edit in {**editor.last, **another.last}.items():
        if name not in another.deleted:
            assert b"NOTE:" + edit + b"\r\n" in now[name]
    for name in untouched - another.touched():
        if name in first:
            assert b"NOTE:of 20090901" in now[name]
        else:
            assert name not in now
    assert not (editor.deleted | another.deleted) & now.keys()
