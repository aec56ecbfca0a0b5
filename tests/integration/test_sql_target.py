"""The sql target on tables that others designed, with their rules, types and surprises."""

import logging
import os
import sqlite3
import threading
import time
import uuid
from datetime import UTC, datetime

import msgspec
import pytest
from sqlalchemy import NullPool, create_engine, make_url, text

from orchestrator.errors import Unavailable
from orchestrator.items import Attachment, UserId
from orchestrator.ports import Fate, Place, Surroundings, Write
from tests.conformance.target_example import create, item, removal, replace
from workers.storage.tables import Table
from workers.targets.sql import Sql

NOW = datetime(2009, 10, 12, 8, 30, tzinfo=UTC)
OWNER = UserId("anna")

SCORES = """
    CREATE TABLE scores (
        player TEXT NOT NULL,
        board VARCHAR(20) NOT NULL,
        points BIGINT NOT NULL CHECK (points >= 0),
        reached {time},
        level INTEGER,
        extra {json},
        PRIMARY KEY (player, board)
    )
"""
SCORE_COLUMNS = Table(
    table="scores",
    user="player",
    ident="board",
    fields={
        "board": "board",
        "value": "points",
        "achieved": "reached",
        "level": "level",
        "extra": "extra",
        "player": None,
    },
)


class Service:
    """Somebody's database, with a target that writes to it."""

    def __init__(self, url, folder, request):
        self.url = url
        self.folder = folder
        self.request = request
        address = make_url(url)
        self.sqlite = address.get_backend_name() == "sqlite"
        if self.sqlite:
            address = address.set(database=str(folder / address.database))
        self.engine = create_engine(address, poolclass=NullPool)

    def execute(self, statement, **given):
        with self.engine.begin() as connection:
            result = connection.execute(text(statement), given)
            return [tuple(row) for row in result] if result.returns_rows else []

    def target(self, **options):
        surroundings = Surroundings(folder=self.folder, secret=lambda text: text, clock=lambda: NOW)
        target = Sql(url=self.url, **options).open(surroundings)
        self.request.addfinalizer(target.close)
        return target


@pytest.fixture
def postgresql(fresh_database, tmp_path, request):
    return Service(fresh_database, tmp_path, request)


@pytest.fixture(params=["sqlite", "postgresql"])
def service(request, tmp_path):
    if request.param == "sqlite":
        (tmp_path / "service.db").touch()
        return Service("sqlite:///service.db", tmp_path, request)
    return Service(request.getfixturevalue("fresh_database"), tmp_path, request)


def one(target, write, category="contacts"):
    [answer] = target.write(category, [write])
    return answer


def fetch(target, owner, ref, category="contacts"):
    [live] = target.fetch(category, [Place(owner=owner, ref=ref)])
    return live


def score(target, board, **fields):
    content = msgspec.json.encode({"board": board, **fields}, order="sorted")
    return create(target, OWNER, board, content, category="high_scores")


def scores_target(service):
    types = {"time": "TIMESTAMP", "json": "JSON"} if service.sqlite else {}
    types = types or {"time": "TIMESTAMPTZ", "json": "JSONB"}
    service.execute(SCORES.format(**types))
    target = service.target(tables={"high_scores": SCORE_COLUMNS})
    return target, target.inspect(["high_scores"])


# Fields ----------------------------------------------------------------------------------------


def test_fields_go_into_their_columns_and_come_back_as_one_content(service):
    target, able = scores_target(service)
    assert able.create_only
    assert not able.tombstones
    assert able.compare_and_set is not service.sqlite  # it has no version column
    fields = {
        "value": 2**53 + 1,
        "achieved": "2009-09-01T12:00:00Z",
        "level": 7,
        "extra": {"combo": [1, 2.5, None, "é"]},
    }
    assert one(target, score(target, "maze", **fields), "high_scores").fate is Fate.DONE
    assert service.execute("SELECT points, level FROM scores") == [(2**53 + 1, 7)]
    live = msgspec.json.decode(fetch(target, OWNER, "maze", "high_scores").content)
    when = datetime.fromisoformat(live.pop("achieved"))
    assert when == datetime(2009, 9, 1, 12, tzinfo=UTC)
    assert {**fields, "board": "maze"} == {**live, "achieved": fields["achieved"]}


def test_a_field_without_a_value_is_left_out(service):
    target, _ = scores_target(service)
    write = score(target, "maze", value=1)
    assert one(target, write, "high_scores").fate is Fate.DONE
    assert fetch(target, OWNER, "maze", "high_scores").content == write.item.content


def test_an_item_with_a_field_that_has_no_column_is_refused(service):
    target, _ = scores_target(service)
    answer = one(target, score(target, "maze", value=1, secret="canary"), "high_scores")
    assert answer.fate is Fate.REFUSED
    assert answer.detail == "1 of its fields have no column"


def test_a_row_against_the_tables_rules_is_refused_alone(service):
    target, _ = scores_target(service)
    values = [5, -1, 6, 7, -2, 8]
    writes = [score(target, f"board{n}", value=value) for n, value in enumerate(values)]
    writes.append(score(target, "none", level=1))
    answers = target.write("high_scores", writes)
    assert [answer.fate for answer in answers] == [
        Fate.DONE if value >= 0 else Fate.REFUSED for value in values
    ] + [Fate.REFUSED]
    assert sorted(service.execute("SELECT points FROM scores")) == [(5,), (6,), (7,), (8,)]


@pytest.mark.parametrize(
    "fields",
    [{"value": "many"}, {"value": 1.5}, {"value": 2**70}, {"value": 1, "achieved": "yesterday"}],
)
def test_a_value_that_its_column_cannot_hold_is_refused(postgresql, fields):
    target, _ = scores_target(postgresql)
    assert one(target, score(target, "maze", **fields), "high_scores").fate is Fate.REFUSED
    assert postgresql.execute("SELECT count(*) FROM scores") == [(0,)]


def test_a_text_that_is_too_long_is_refused_and_never_cut(postgresql):
    target, _ = scores_target(postgresql)
    answer = one(target, score(target, "b" * 21, value=1), "high_scores")
    assert answer.fate is Fate.REFUSED
    assert postgresql.execute("SELECT count(*) FROM scores") == [(0,)]


def test_times_without_a_zone_are_taken_for_utc(postgresql):
    postgresql.execute(SCORES.format(time="TIMESTAMP", json="JSON"))
    name = make_url(postgresql.url).database
    postgresql.execute(f"ALTER DATABASE {name} SET timezone TO 'America/Los_Angeles'")
    target = postgresql.target(tables={"high_scores": SCORE_COLUMNS})
    target.inspect(["high_scores"])
    write = score(target, "maze", value=1, achieved="2009-09-01T14:00:00+02:00")
    assert one(target, write, "high_scores").fate is Fate.DONE
    assert postgresql.execute("SELECT reached FROM scores") == [(datetime(2009, 9, 1, 12),)]  # noqa: DTZ001 - the column has no zone
    live = msgspec.json.decode(fetch(target, OWNER, "maze", "high_scores").content)
    assert datetime.fromisoformat(live["achieved"]) == datetime(2009, 9, 1, 12, tzinfo=UTC)


# Keys ------------------------------------------------------------------------------------------

PEOPLE = """
    CREATE TABLE people (
        account {key} NOT NULL, uid {uid} NOT NULL, card TEXT NOT NULL, UNIQUE (account, uid)
    )
"""
PEOPLE_COLUMNS = Table(table="people", user="account", ident="uid", content="card")


def test_a_user_is_the_number_that_he_is_spelled_as_and_no_other(service):
    service.execute(PEOPLE.format(key="INTEGER", uid="TEXT"))
    target = service.target(tables={"contacts": PEOPLE_COLUMNS})
    target.inspect(["contacts"])
    spelled = ["7", "07", " 7", "+7", "7.0", "\u0667", "seven"]
    answers = target.write("contacts", [create(target, u, "a", b"x") for u in spelled])
    assert [a.fate for a in answers] == [Fate.DONE] + [Fate.REFUSED] * 6
    assert [e.owner for e in target.survey("contacts", spelled)] == ["7"]
    assert service.execute("SELECT account FROM people") == [(7,)]


def test_keys_may_be_uuids(postgresql):
    postgresql.execute(PEOPLE.format(key="UUID", uid="UUID"))
    target = postgresql.target(tables={"contacts": PEOPLE_COLUMNS})
    able = target.inspect(["contacts"])
    assert "unique key was checked" in able.notes[0]
    user, ident = str(uuid.uuid4()), str(uuid.uuid4())
    assert one(target, create(target, user, ident, b"x")).fate is Fate.DONE
    assert one(target, create(target, user, ident, b"x")).fate is Fate.CONFLICT
    assert one(target, create(target, user.upper(), ident, b"x")).fate is Fate.REFUSED
    [entry] = target.survey("contacts", [user])
    assert (entry.owner, entry.ident) == (user, ident)
    assert fetch(target, user, ident).content == b"x"


def test_columns_that_take_two_users_for_one_are_found_out_at_inspection(service):
    if service.sqlite:
        service.execute(PEOPLE.format(key="TEXT COLLATE NOCASE", uid="TEXT"))
    else:
        service.execute(
            "CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2',"
            " deterministic = false)"
        )
        service.execute(PEOPLE.format(key="TEXT COLLATE nocase", uid="TEXT"))
    with pytest.raises(Unavailable, match="different users"):
        service.target(tables={"contacts": PEOPLE_COLUMNS}).inspect(["contacts"])
    assert service.execute("SELECT count(*) FROM people") == [(0,)]


def test_a_survey_longer_than_a_page_is_complete(service):
    service.execute(PEOPLE.format(key="INTEGER", uid="TEXT"))
    target = service.target(tables={"contacts": PEOPLE_COLUMNS})
    target.inspect(["contacts"])
    expected = {(owner, f"i{n}") for owner in ("9", "10") for n in range(5_200)}
    writes = [create(target, owner, ident, b"") for owner, ident in sorted(expected)]
    assert {a.fate for a in target.write("contacts", writes)} == {Fate.DONE}
    found = [(e.owner, e.ref) for e in target.survey("contacts", ["9", "10", "x"])]
    assert len(found) == len(expected)
    assert set(found) == expected


# Schemas that do not fit -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "columns", "complaint"),
    [
        ("", {}, "there is no table people"),
        ("account TEXT, uid TEXT, card TEXT", {}, "not its unique key"),
        ("account TEXT, uid TEXT PRIMARY KEY, card TEXT", {}, "not its unique key"),
        ("account TEXT, uid TEXT, UNIQUE (account, uid)", {}, "no column card"),
        (
            "account TEXT, uid TEXT, card INTEGER, UNIQUE (account, uid)",
            {},
            "column card (content) is no JSON or bytes or text",
        ),
        (
            "account TEXT, uid TEXT, card TEXT, town TEXT NOT NULL, UNIQUE (account, uid)",
            {},
            "column town must have a value",
        ),
        (
            "account TEXT, uid TEXT, card TEXT, v TEXT, UNIQUE (account, uid)",
            {"version": "v"},
            "column v (version) is no time or whole number",
        ),
        (
            "account TEXT, uid TEXT, card TEXT, UNIQUE (account, uid)",
            {"fields": {"value": "card"}},
            "either content or fields",
        ),
        (
            "account DOUBLE PRECISION, uid TEXT, card TEXT, UNIQUE (account, uid)",
            {},
            "column account (user) is no UUID or text or whole number",
        ),
    ],
)
def test_a_table_that_does_not_fit_is_told_at_inspection(service, schema, columns, complaint):
    if schema:
        service.execute(f"CREATE TABLE people ({schema})")
    table = Table(
        **{"table": "people", "user": "account", "ident": "uid", "content": "card"} | columns
    )
    with pytest.raises(Unavailable) as error:
        service.target(tables={"contacts": table}).inspect(["contacts"])
    assert complaint in error.value.message
    assert error.value.hint


def test_a_table_without_an_index_by_user_is_told_at_inspection(service):
    service.execute(
        "CREATE TABLE people (account TEXT, uid TEXT, card TEXT, UNIQUE (uid, account))"
    )
    target = service.target(tables={"contacts": PEOPLE_COLUMNS})
    assert any("no index" in note for note in target.inspect(["contacts"]).notes)
    service.execute("CREATE INDEX by_account ON people (account)")
    assert target.inspect(["contacts"]).notes == ()


def test_every_difference_is_told_at_once(service):
    service.execute("CREATE TABLE people (account TEXT, uid TEXT)")
    table = Table(table="people", user="account", ident="uid", content="card", deleted="gone")
    with pytest.raises(Unavailable) as error:
        service.target(tables={"contacts": table}).inspect(["contacts"])
    for part in ("no column card", "no column gone", "not its unique key"):
        assert part in error.value.message


def test_another_table_of_our_name_is_never_taken_for_ours(service):
    service.execute("CREATE TABLE contacts (id INTEGER PRIMARY KEY, name TEXT)")
    with pytest.raises(Unavailable, match="no column user_id"):
        service.target().inspect(["contacts"])
    target = service.target(prefix="restored_")
    target.inspect(["contacts"])
    assert one(target, create(target, OWNER, "a", b"x")).fate is Fate.DONE


def test_nothing_is_created_where_that_is_not_wanted(service):
    with pytest.raises(Unavailable, match="no table contacts"):
        service.target(create=False).inspect(["contacts"])
    with pytest.raises(Unavailable, match="no table contacts"):
        list(service.target().survey("contacts", [OWNER]))


def test_a_mistyped_path_does_not_become_an_empty_database(tmp_path, request):
    target = Service("sqlite:///mistyped.db", tmp_path, request).target(create=False)
    with pytest.raises(Unavailable):
        target.inspect(["contacts"])
    assert not (tmp_path / "mistyped.db").exists()


@pytest.mark.parametrize(
    "url", ["mysql://u:canary@h/d", "no url", "sqlite://", "sqlite:///:memory:", ""]
)
def test_only_postgresql_and_sqlite_files_are_taken(url, tmp_path):
    surroundings = Surroundings(folder=tmp_path, secret=lambda text: text, clock=lambda: NOW)
    with pytest.raises(Unavailable) as error:
        Sql(url=url).open(surroundings).inspect(["contacts"])
    assert error.value.hint
    assert "canary" not in str(error.value)


def test_our_tables_can_lie_in_a_schema_of_their_own(postgresql):
    postgresql.execute('CREATE SCHEMA "live data"')
    target = postgresql.target(schema="live data")
    target.inspect(["contacts"])
    part = Attachment(name="p", data=b"1")
    write = create(target, OWNER, "a", b"x", attachments=[part])
    assert one(target, write).fate is Fate.DONE
    assert fetch(target, OWNER, "a").attachments == (part,)
    assert postgresql.execute('SELECT count(*) FROM "live data".contacts') == [(1,)]


def test_a_partitioned_table_is_replaced_by_its_version_column_or_not_at_all(postgresql):
    postgresql.execute(
        "CREATE TABLE people (account TEXT, uid TEXT, card BYTEA, v INTEGER NOT NULL DEFAULT 1,"
        " PRIMARY KEY (account, uid)) PARTITION BY HASH (account)"
    )
    for n in range(2):
        postgresql.execute(
            f"CREATE TABLE people{n} PARTITION OF people FOR VALUES WITH (MODULUS 2, REMAINDER {n})"
        )
    for version, able in (("v", True), (None, False)):
        columns = Table(
            table="people", user="account", ident="uid", content="card", version=version
        )
        target = postgresql.target(tables={"contacts": columns})
        assert target.inspect(["contacts"]).compare_and_set is able
        assert one(target, create(target, OWNER, f"{version}", b"old")).fate is Fate.DONE
        entry = next(e for e in target.survey("contacts", [OWNER]) if e.ref == f"{version}")
        answer = one(target, replace(entry, b"new"))
        assert answer.fate is (Fate.DONE if able else Fate.CONFLICT)


DATED = """
    CREATE TABLE people (
        account TEXT, uid TEXT, card TEXT, changed {kind} NOT NULL, gone {kind},
        PRIMARY KEY (account, uid)
    )
"""


def dated_target(service, kind="TIMESTAMP"):
    """A table that has nothing to compare but when its rows changed: partitions have no xmin."""
    if service.sqlite:
        service.execute(DATED.format(kind=kind))
    else:
        service.execute(DATED.format(kind=kind) + "PARTITION BY LIST (account)")
        service.execute("CREATE TABLE everybody PARTITION OF people DEFAULT")
    columns = Table(
        table="people",
        user="account",
        ident="uid",
        content="card",
        modified="changed",
        version="changed",
        deleted="gone",
    )
    target = service.target(tables={"contacts": columns})
    return target, target.inspect(["contacts"])


def test_rows_are_compared_by_when_they_changed_where_nothing_else_tells(service):
    target, able = dated_target(service)
    assert (able.compare_and_set, able.tombstones) == (True, True)
    assert any("times of change" in note for note in able.notes)
    one(target, create(target, OWNER, "a", b"old"))
    [first] = target.survey("contacts", [OWNER])
    assert one(target, replace(first, b"new")).fate is Fate.DONE
    assert one(target, replace(first, b"late")).fate is Fate.CONFLICT
    [second] = target.survey("contacts", [OWNER])
    assert second.modified > first.modified == NOW  # at the same moment by the clock
    service.execute("UPDATE people SET card = 'hers', changed = '2009-10-13 09:00:00.000000'")
    assert one(target, replace(second, b"ours")).fate is Fate.CONFLICT
    assert fetch(target, OWNER, "a").content == b"hers"
    [entry] = target.survey("contacts", [OWNER])
    [gone] = target.remove("contacts", [removal(entry)])
    assert gone.fate is Fate.DONE
    [tombstone] = target.survey("contacts", [OWNER])
    assert tombstone.deleted
    assert tombstone.version == gone.version != entry.version


@pytest.mark.parametrize("kind", ["TIMESTAMPTZ", "TIMESTAMPTZ(3)", "TIMESTAMP(4)"])
def test_two_changes_within_one_tick_of_the_column_are_two_versions(postgresql, kind):
    target, able = dated_target(postgresql, kind)
    assert able.compare_and_set
    versions = [one(target, create(target, OWNER, "a", b"0")).version]
    for text_of_it in (b"1", b"2", b"3"):
        [entry] = target.survey("contacts", [OWNER])
        versions.append(one(target, replace(entry, text_of_it)).version)
    assert len(set(versions)) == 4


def test_the_zone_of_a_session_does_not_change_a_version(postgresql):
    target, _ = dated_target(postgresql, "TIMESTAMPTZ")
    one(target, create(target, OWNER, "a", b"0"))
    [entry] = target.survey("contacts", [OWNER])
    name = make_url(postgresql.url).database
    postgresql.execute(f"ALTER DATABASE \"{name}\" SET timezone TO 'Asia/Kathmandu'")
    target.close()
    assert one(target, replace(entry, b"1")).fate is Fate.DONE


def test_a_time_of_whole_seconds_is_no_version(postgresql):
    with pytest.raises(Unavailable, match="too coarse"):
        dated_target(postgresql, "TIMESTAMP(0)")


def test_a_foreign_key_that_refuses_the_probe_is_told_and_does_no_harm(service):
    service.execute("CREATE TABLE account (id TEXT PRIMARY KEY)")
    service.execute("INSERT INTO account VALUES ('anna')")
    service.execute(
        "CREATE TABLE people (account TEXT NOT NULL REFERENCES account (id), uid TEXT NOT NULL,"
        " card TEXT, UNIQUE (account, uid))"
    )
    target = service.target(tables={"contacts": PEOPLE_COLUMNS})
    able = target.inspect(["contacts"])
    assert able.create_only
    assert "refuse a probe" in able.notes[0]
    answers = target.write(
        "contacts", [create(target, owner, "a", b"x") for owner in ("anna", "bert", "cleo")]
    )
    assert [a.fate for a in answers] == [Fate.DONE, Fate.REFUSED, Fate.REFUSED]


# Other programs --------------------------------------------------------------------------------


def test_a_writer_who_forgets_the_version_is_noticed_all_the_same(service):
    target = service.target()
    target.inspect(["contacts"])
    one(target, create(target, OWNER, "a", b"old"))
    [entry] = target.survey("contacts", [OWNER])
    service.execute("UPDATE contacts SET content = :c", c=b"hers")
    assert one(target, replace(entry, b"ours")).fate is Fate.CONFLICT
    assert fetch(target, OWNER, "a").content == b"hers"


def test_a_row_that_is_deleted_and_made_again_is_another_version(service):
    target = service.target()
    target.inspect(["contacts"])
    one(target, create(target, OWNER, "a", b"old"))
    [entry] = target.survey("contacts", [OWNER])
    service.execute("DELETE FROM contacts")
    service.execute(
        "INSERT INTO contacts (user_id, ident, media, content) VALUES ('anna', 'a', 'm', :c)",
        c=b"hers",
    )
    assert one(target, replace(entry, b"ours")).fate is Fate.CONFLICT
    assert fetch(target, OWNER, "a").content == b"hers"


GUARDS = {
    "a row that is there": "INSERT INTO contacts (user_id, ident, media, content)"
    " VALUES ('anna', 'n7', 'm', 'hers')",
    "row-level rules": "ALTER TABLE contacts ENABLE ROW LEVEL SECURITY",
    "a trigger that keeps one away": """
        CREATE FUNCTION away() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN IF NEW.ident = ''n7'' THEN RETURN NULL; END IF; RETURN NEW; END';
        CREATE TRIGGER away BEFORE INSERT ON contacts FOR EACH ROW EXECUTE FUNCTION away()""",
    "a rule of the table": "ALTER TABLE contacts ADD CHECK (ident <> 'n7')",
}


@pytest.mark.parametrize("guard", GUARDS)
def test_what_keeps_one_row_away_harms_no_other(postgresql, guard):
    postgresql.target().inspect(["contacts"])
    postgresql.execute(GUARDS[guard])
    target = postgresql.target()
    writes = [create(target, OWNER, f"n{n}", f"card {n}".encode()) for n in range(20)]
    answers = target.write("contacts", writes)
    kept = [n for n, said in enumerate(answers) if said.fate is not Fate.DONE]
    assert kept == ([] if guard == "row-level rules" else [7])
    versions = {entry.ref: entry.version for entry in target.survey("contacts", [OWNER])}
    for write, said in zip(writes, answers, strict=True):
        assert said.fate is not Fate.DONE or versions[write.ref] == said.version


def test_without_a_column_for_deletions_a_removed_row_goes_unless_the_table_forbids_it(postgresql):
    target, _ = scores_target(postgresql)
    boards = ["chess", "go", "kept"]
    target.write("high_scores", [score(target, board, value=7) for board in boards])
    postgresql.execute(
        "CREATE TABLE prizes (player TEXT, board VARCHAR(20),"
        " FOREIGN KEY (player, board) REFERENCES scores)"
    )
    postgresql.execute("INSERT INTO prizes VALUES ('anna', 'go')")
    entries = {entry.ref: entry for entry in target.survey("high_scores", [OWNER])}
    answers = target.remove("high_scores", [removal(entries[board]) for board in ("chess", "go")])
    assert [answer.fate for answer in answers] == [Fate.DONE, Fate.REFUSED]
    assert answers[1].detail
    assert sorted(postgresql.execute("SELECT board FROM scores")) == [("go",), ("kept",)]


def test_without_a_version_nothing_is_removed(tmp_path, request):
    (tmp_path / "service.db").touch()
    service = Service("sqlite:///service.db", tmp_path, request)
    target, _ = scores_target(service)
    one(target, score(target, "chess", value=7), "high_scores")
    [entry] = target.survey("high_scores", [OWNER])
    [answer] = target.remove("high_scores", [removal(entry)])
    assert answer.fate is Fate.REFUSED
    assert service.execute("SELECT board FROM scores") == [("chess",)]


def test_a_removed_row_of_ours_keeps_no_content(service):
    target = service.target()
    target.inspect(["contacts"])
    one(target, create(target, OWNER, "a", b"hers", attachments=[Attachment(name="p", data=b"x")]))
    [answer] = target.remove("contacts", [removal(*target.survey("contacts", [OWNER]))])
    assert answer.fate is Fate.DONE
    [(content,)] = service.execute("SELECT content FROM contacts")
    assert not content
    assert service.execute("SELECT name FROM contacts_attachments") == []


def test_a_write_waits_for_an_edit_under_way_and_then_gives_way(postgresql):
    target = postgresql.target()
    target.inspect(["contacts"])
    one(target, create(target, OWNER, "a", b"old"))
    [entry] = target.survey("contacts", [OWNER])
    answers = []
    with postgresql.engine.connect() as other:
        other.execute(text("UPDATE contacts SET content = 'hers'"))
        writer = threading.Thread(
            target=lambda: answers.append(one(target, replace(entry, b"ours")))
        )
        writer.start()
        time.sleep(0.3)
        assert writer.is_alive()
        other.commit()
        writer.join()
    assert answers[0].fate is Fate.CONFLICT
    assert fetch(target, OWNER, "a").content == b"hers"


def test_a_create_waits_for_another_one_under_way(postgresql):
    target = postgresql.target()
    target.inspect(["contacts"])
    answers = []
    with postgresql.engine.connect() as other:
        other.execute(
            text(
                "INSERT INTO contacts (user_id, ident, media, content)"
                " VALUES ('anna', 'a', 'm', 'hers')"
            )
        )
        writer = threading.Thread(
            target=lambda: answers.append(one(target, create(target, OWNER, "a", b"ours")))
        )
        writer.start()
        time.sleep(0.3)
        assert writer.is_alive()
        other.commit()
        writer.join()
    assert answers[0].fate is Fate.CONFLICT


def test_a_deadlock_is_tried_again(postgresql):
    target = postgresql.target()
    target.inspect(["contacts"])
    target.write("contacts", [create(target, OWNER, i, b"old") for i in ("a", "b")])
    entries = {e.ref: e for e in target.survey("contacts", [OWNER])}
    postgresql.execute("CREATE TABLE other (id INTEGER PRIMARY KEY)")
    done = []

    def replacer():
        writes = [replace(entries["a"], b"1"), replace(entries["b"], b"1")]
        done.append([answer.fate for answer in target.write("contacts", writes)])

    with postgresql.engine.connect() as other:
        other.execute(text("SET deadlock_timeout = '20s'"))  # the target is the one who loses
        other.execute(text("SELECT 1 FROM contacts WHERE ident = 'b' FOR UPDATE"))
        writer = threading.Thread(target=replacer)
        writer.start()
        time.sleep(0.3)
        other.execute(text("SELECT 1 FROM contacts WHERE ident = 'a' FOR UPDATE"))
        other.rollback()
        writer.join()
    assert done == [[Fate.DONE, Fate.DONE]]


def test_times_that_no_calendar_has_count_as_the_users_own(postgresql):
    target = postgresql.target()
    target.inspect(["contacts"])
    for ident, when in (("a", "infinity"), ("b", "-infinity"), ("c", "20000-01-01"), ("d", "now")):
        postgresql.execute(
            "INSERT INTO contacts (user_id, ident, media, content, modified)"
            f" VALUES ('anna', '{ident}', 'm', '', '{when}')"
        )
    entries = {e.ref: e.modified for e in target.survey("contacts", [OWNER])}
    assert [entries[ident] for ident in "abc"] == [None, None, None]
    assert entries["d"] is not None


def test_a_row_of_others_with_broken_text_does_not_end_a_survey(tmp_path, request):
    service = Service("sqlite:///service.db", tmp_path, request)
    target = service.target()
    target.inspect(["contacts"])
    one(target, create(target, OWNER, "a", b"x"))
    service.execute(
        "INSERT INTO contacts (user_id, ident, media, content)"
        " VALUES ('anna', CAST(x'ff41' AS TEXT), 'm', 'no blob')"
    )
    entries = list(target.survey("contacts", [OWNER]))
    assert len(entries) == 2
    for entry in entries:
        entry.ref.encode()


# Away ------------------------------------------------------------------------------------------


def test_a_backend_that_was_killed_is_replaced(postgresql):
    target = postgresql.target()
    target.inspect(["contacts"])
    one(target, create(target, OWNER, "a", b"x"))
    postgresql.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    assert fetch(target, OWNER, "a").content == b"x"


def test_a_database_without_the_right_to_write_is_unavailable_with_a_hint(postgresql):
    target = postgresql.target()
    target.inspect(["contacts"])
    postgresql.execute("CREATE ROLE reader LOGIN")
    try:
        postgresql.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
        url = make_url(postgresql.url).set(username="reader").render_as_string()
        reader = Service(url, postgresql.folder, postgresql.request).target(create=False)
        with pytest.raises(Unavailable, match="42501") as error:
            reader.inspect(["contacts"])
        assert error.value.hint
        reader.close()
    finally:
        postgresql.execute("DROP OWNED BY reader")
        postgresql.execute("DROP ROLE reader")


def test_a_write_waits_for_a_lock_on_the_file(tmp_path, request):
    service = Service("sqlite:///service.db", tmp_path, request)
    target = service.target()
    target.inspect(["contacts"])
    answers = []
    with sqlite3.connect(tmp_path / "service.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        writer = threading.Thread(
            target=lambda: answers.append(one(target, create(target, OWNER, "a", b"x")))
        )
        writer.start()
        time.sleep(0.3)
        assert writer.is_alive()
        other.execute("COMMIT")
        writer.join()
    other.close()
    assert answers[0].fate is Fate.DONE


def test_a_file_that_is_no_database_is_unavailable_and_left_alone(tmp_path, request):
    file = tmp_path / "service.db"
    file.write_bytes(b"no database " * 1000)
    target = Service("sqlite:///service.db", tmp_path, request).target()
    with pytest.raises(Unavailable) as error:
        target.inspect(["contacts"])
    assert error.value.hint == "the file is no SQLite database"
    assert file.read_bytes() == b"no database " * 1000


def test_no_error_tells_a_parameter_or_a_content(service, caplog):
    caplog.set_level(logging.DEBUG)
    target, _ = scores_target(service)
    writes = [
        create(target, "canary-user", "canary-board", b'{"board":"canary-board","value":-7}'),
        create(target, "canary-user", "canary-board-that-is-too-long", b'{"value":"canary"}'),
    ]
    answers = target.write("high_scores", writes)
    assert "canary" not in repr(answers)
    service.execute("DROP TABLE scores")
    with pytest.raises(Unavailable) as error:
        target.write("high_scores", writes)
    assert "canary" not in repr(error.value)
    assert error.value.__cause__ is None
    assert "canary" not in caplog.text


def test_a_forked_process_never_uses_its_parents_connections(postgresql):
    target = postgresql.target()
    target.inspect(["contacts"])
    one(target, create(target, OWNER, "parent", b"x"))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            answer = one(target, create(target, OWNER, "child", b"x"))
            target.close()
            status = 0 if answer.fate is Fate.DONE else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert one(target, create(target, OWNER, "again", b"x")).fate is Fate.DONE
    assert {e.ref for e in target.survey("contacts", [OWNER])} == {"parent", "child", "again"}


def test_what_was_revised_and_its_type_are_there_for_the_service_to_read(service):
    target = service.target()
    target.inspect(["contacts"])
    revised = datetime(2009, 9, 1, 12, tzinfo=UTC)
    write = Write(owner=OWNER, item=item("a", b"x", revised=revised), ref="a")
    assert one(target, write).fate is Fate.DONE
    [(media, told, changed, deleted)] = service.execute(
        "SELECT media, revised, modified, deleted_at FROM contacts"
    )
    assert (media, deleted) == ("text/vcard", None)
    if not service.sqlite:
        assert (told, changed) == (revised, NOW)
    else:
        assert (told, changed) == ("2009-09-01 12:00:00.000000", "2009-10-12 08:30:00.000000")
