"""From an older ledger to a newer one, and back never: expand, then contract."""

import shutil

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, select, text, update

import orchestrator
from orchestrator.errors import Refused
from orchestrator.ledger import versions
from orchestrator.ledger.database import Ledger
from orchestrator.ledger.schema import VERSION, batch, metadata, run, schema_version, unit
from orchestrator.ledger.versions import REVISIONS, Age, stamp
from orchestrator.lifecycle import RunState
from orchestrator.releases import decide_alike
from tests.in_process import Service

EXPAND = '''
"""An expansion as a later release would bring one."""

import sqlalchemy as sa
from alembic import op

revision = "9998"
down_revision = "{before}"


def upgrade():
    op.add_column("unit", sa.Column("weight", sa.Integer(), nullable=False, server_default="7"))
    op.add_column("run", sa.Column("region", sa.Text(), nullable=True))
    op.create_table("novelty", sa.Column("id", sa.Integer(), primary_key=True))
    op.create_index("unit_by_weight", "unit", ["run", "weight"])
'''
CONTRACT = '''
"""A contraction: an older release cannot work with what is left."""

from alembic import op

revision = "9999"
down_revision = "9998"


def upgrade():
    op.drop_table("novelty")
    op.execute("UPDATE schema_version SET version = version + 1")
'''
PLAN = """
version: 1
name: small
incident: {as_of: 2009-10-01T00:00:00Z}
sources: {cache: {kind: vdir, path: cache}}
targets: {pim: {kind: vdir, path: pim}}
approvals: APPROVALS
phases: [{restore: contacts, to: pim}]
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    return request.getfixturevalue("fresh_database")


@pytest.fixture
def ledger(url):
    ledger = Ledger(url)
    yield ledger
    ledger.close()


@pytest.fixture
def later(tmp_path):
    """The revisions of a later release: ours, an expansion and a contraction."""
    folder = tmp_path / "versions"
    shutil.copytree(REVISIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    expand = EXPAND.format(before=versions.revisions()[-1])
    (folder / "r9998_expand.py").write_text(expand)
    return folder


def put_contact(folder):
    book = folder / "cache" / "ann" / "contacts"
    book.mkdir(parents=True)
    (book / "1.vcf").write_bytes(
        b"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:1\r\nN:B;A;;;\r\nFN:A B\r\nEND:VCARD\r\n"
    )


def from_revisions(ledger, folder=REVISIONS):
    with ledger.begin() as connection:
        versions.upgrade(connection, folder=folder)


def facts(connection):
    """Everything of a schema that autogenerate does not compare, in the database's own words."""
    if connection.dialect.name == "sqlite":
        return {
            table: [
                tuple(column)
                for column in connection.execute(text(f'PRAGMA table_info("{table}")'))
            ]
            for table in metadata.tables
        }
    asked = text(
        "SELECT relname::text, relkind::text, reloptions FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace"
        " AND relkind IN ('r', 'S', 'i') AND relname NOT LIKE 'alembic%'"
    )
    return sorted(map(repr, connection.execute(asked)))


def test_all_revisions_together_make_the_schema(ledger):
    from_revisions(ledger)
    with ledger.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, metadata) == []
        migrated = facts(connection)
    with ledger.engine.connect() as connection, connection.begin() as transaction:
        metadata.drop_all(connection)
        metadata.create_all(connection)
        made = facts(connection)
        transaction.rollback()
    assert migrated == made


def test_revisions_are_one_line_and_numbered_as_their_files_are(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'x.db'}")
    with engine.begin() as connection:
        versions.upgrade(connection)
        assert connection.execute(select(stamp.c.version_num)).scalars().all() == [
            versions.revisions()[-1]
        ]
    engine.dispose()


def test_a_fresh_ledger_is_at_the_newest_revision(ledger):
    with ledger.begin() as connection:
        assert versions.standing(connection).age is Age.EMPTY
    ledger.prepare()
    ledger.prepare()
    with ledger.read() as connection:
        found = versions.standing(connection)
    assert (found.age, found.contract) == (Age.CURRENT, VERSION)


def test_migrating_expands_once_and_keeps_what_is_there(ledger, later):
    ledger.prepare(key_check=b"12345678")
    before = ledger.migrate(key_check=b"12345678", folder=later)
    assert before.age is Age.BEHIND
    again = ledger.migrate(key_check=b"12345678", folder=later)
    assert (again.age, again.key_check) == (Age.CURRENT, b"12345678")
    with ledger.read() as connection:
        assert inspect(connection).has_table("novelty")


def test_a_migration_with_another_key_is_refused_and_changes_nothing(ledger, later):
    ledger.prepare(key_check=b"12345678")
    with pytest.raises(Refused, match="key"):
        ledger.migrate(key_check=b"87654321", folder=later)
    with ledger.read() as connection:
        assert not inspect(connection).has_table("novelty")


def test_a_migration_that_breaks_off_changes_nothing(ledger, later):
    ledger.prepare()
    broken = (later / "r9998_expand.py").read_text() + '    op.execute("SELECT no_such_thing()")\n'
    (later / "r9998_expand.py").write_text(broken)
    with pytest.raises(Exception, match=r"no_such_thing|did not answer"):
        ledger.migrate(folder=later)
    with ledger.read() as connection:
        assert not inspect(connection).has_table("novelty")
        assert versions.standing(connection).age is Age.CURRENT


def test_a_release_works_with_a_ledger_that_a_newer_one_expanded(url, tmp_path, later):
    service = Service(tmp_path / "service", ledger_url=url)
    service.ledger.migrate(folder=later)
    service.ledger.prepare()
    with service.ledger.read() as connection:
        assert versions.standing(connection).age is Age.EXPANDED
    put_contact(tmp_path / "service")
    run_id = service.run(PLAN.replace("APPROVALS", "0"), users=["ann"])
    assert service.ended(run_id) is RunState.FINISHED
    with service.ledger.read() as connection:
        settled = connection.execute(select(unit.c.restored)).scalars().all()
        assert settled == [1]
        assert connection.execute(text("SELECT weight FROM unit")).scalars().all() == [7]
    service.ledger.close()


def test_a_contracted_ledger_is_refused_by_the_release_before(ledger, later):
    ledger.prepare()
    (later / "r9999_contract.py").write_text(CONTRACT)
    from_revisions(ledger, later)
    with pytest.raises(Refused, match="revision 9999"):
        ledger.prepare()
    with pytest.raises(Refused, match="revision 9999"):
        ledger.migrate()


def test_only_an_embedded_ledger_is_migrated_unasked(ledger, monkeypatch):
    ledger.prepare()
    newest = versions.revisions()[-1]
    monkeypatch.setattr(versions, "revisions", lambda *_: [newest, "9998"])
    if ledger.engine.dialect.name == "sqlite":
        ledger.prepare()
    else:
        with pytest.raises(Refused, match=f"revision {newest}") as refused:
            ledger.prepare()
        assert refused.value.hint == "bring it there first: reinstate migrate"


def test_a_ledger_from_before_revisions_is_refused(ledger):
    ledger.prepare()
    with ledger.begin() as connection:
        stamp.drop(connection)
    with pytest.raises(Refused, match="before revisions"):
        ledger.prepare()


def test_a_ledger_of_another_contract_is_refused(ledger):
    ledger.prepare()
    with ledger.begin() as connection:
        connection.execute(update(schema_version).values(version=VERSION + 1))
    with pytest.raises(Refused, match=f"schema {VERSION + 1}"):
        ledger.prepare()


# Runs across an upgrade -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [("1.4.2", "1.4.9", True), ("1.4.2", "1.5.0", False), ("1.4.2", "2.4.2", False)],
)
def test_only_the_last_number_of_a_version_promises_the_same_decisions(one, other, alike):
    assert decide_alike(one, other) is alike


def begun_by(service, run_id, release):
    with service.ledger.begin() as connection:
        connection.execute(update(run).where(run.c.id == run_id).values(code_version=release))


@pytest.fixture
def service(tmp_path):
    put_contact(tmp_path / "service")
    return Service(tmp_path / "service")


@pytest.mark.guarantee(7)
def test_a_run_that_another_release_began_pauses_before_anything_is_claimed(service):
    run_id = service.submit(PLAN.replace("APPROVALS", "0"), users=["ann"])
    for _ in range(4):
        service.answer()
        service.conductor.tick()
    assert service.progress.state(run_id) is RunState.RUNNING
    service.rings.close()
    begun_by(service, run_id, "0.0.1")
    upgraded = service.another_conductor("upgraded")
    service.clock.advance(minutes=2)
    for _ in range(3):
        upgraded.tick()
    assert service.progress.state(run_id) is RunState.PAUSED
    assert service.rings.waiting == []
    service.runs.resume(run_id, who="jo", reason="")
    upgraded.tick()
    assert service.progress.state(run_id) is RunState.PAUSED


@pytest.mark.guarantee(7)
def test_an_approval_of_what_another_release_inspected_is_void(service):
    run_id = service.submit(PLAN.replace("APPROVALS", "1"), users=["ann"])
    service.go_on()
    assert service.progress.state(run_id) is RunState.AWAITING_APPROVAL
    begun_by(service, run_id, "0.0.1")
    service.clock.advance(minutes=2)
    service.another_conductor("upgraded").tick()
    assert service.progress.state(run_id) is RunState.REFUSED


def test_a_run_goes_on_under_a_release_that_decides_alike(service):
    run_id = service.submit(PLAN.replace("APPROVALS", "0"), users=["ann"])
    begun_by(service, run_id, orchestrator.VERSION + "9")
    service.go_on()
    assert service.ended(run_id) is RunState.FINISHED


def test_a_run_that_was_only_submitted_is_taken_over(service):
    run_id = service.submit(PLAN.replace("APPROVALS", "0"), users=["ann"])
    begun_by(service, run_id, "0.0.1")
    service.go_on()
    assert service.ended(run_id) is RunState.FINISHED


@pytest.mark.guarantee(7)
def test_a_worker_of_another_release_claims_nothing(service):
    run_id = service.submit(PLAN.replace("APPROVALS", "0"), users=["ann"])
    service.conductor.tick()
    service.conductor.tick()
    begun_by(service, run_id, "0.0.1")
    assert service.answer()
    with service.ledger.read() as connection:
        assert connection.execute(select(batch.c.attempts)).scalars().all() == [0]
