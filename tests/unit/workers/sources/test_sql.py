import sqlite3
from datetime import UTC, datetime
from hashlib import sha256

import psycopg
import pytest
import sqlalchemy
from pydantic import TypeAdapter, ValidationError

from orchestrator.errors import ItemRejected, Unavailable
from orchestrator.items import Vouched
from orchestrator.ports import Surroundings
from orchestrator.reasons import Reason
from workers.material import recovered_rows, row_columns, row_files
from workers.material.row_mapping import Rows
from workers.material.vouching import Digests
from workers.sources.sql import Sql

COLUMNS = {"user": "owner", "id": "id", "data": "data"}


@pytest.fixture
def sqlite(tmp_path):
    connection = sqlite3.connect(tmp_path / "recovered.db")
    connection.execute("CREATE TABLE cards (owner, id, data, json, hash, at)")
    yield connection
    connection.close()


@pytest.fixture
def opened(tmp_path):
    sources = []

    def open_source(rows=None, *, url="sqlite:///recovered.db", **options):
        url = url if isinstance(url, str) else url.render_as_string(hide_password=False)
        mapped = Rows(table="cards", **COLUMNS) if rows is None else rows
        surroundings = Surroundings(
            folder=tmp_path, secret=lambda text: text, clock=lambda: datetime.now(UTC)
        )
        kind = Sql(url=url, categories={"contacts": mapped}, **options)
        sources.append(kind.open(surroundings))
        return sources[-1]

    yield open_source
    for source in sources:
        source.close()


@pytest.fixture
def server(fresh_database):
    engine = sqlalchemy.create_engine(fresh_database)
    yield engine
    engine.dispose()


def run(server, *statements):
    with server.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def files_of(source, owner="anna", category="contacts"):
    (folder,) = source.folders(category, [owner])
    return list(folder.files)


def rejection(file):
    with pytest.raises(ItemRejected) as raised:
        file.read()
    return raised.value


def put(connection, *rows):
    connection.executemany("INSERT INTO cards (owner, id, data) VALUES (?, ?, ?)", rows)
    connection.commit()


def test_rows_are_in_the_order_of_their_ids(sqlite, opened):
    put(
        sqlite, ("anna", 10, b"ten"), ("anna", 9, b"nine"), ("anna", "b", b"b"), ("anna", "B", b"B")
    )
    files = files_of(opened())
    assert [file.name for file in files] == ["9", "10", "B", "b"]
    assert [file.read() for file in files] == [b"nine", b"ten", b"B", b"b"]


def test_a_user_with_many_rows_in_one_table_is_given_once(sqlite, opened):
    put(sqlite, ("bert", 1, b"1"), ("anna", 1, b"1"), ("anna", 2, b"2"), ("bert", 2, b"2"))
    assert list(opened().users()) == ["anna", "bert"]


def test_texts_are_given_as_utf_8(sqlite, opened):
    put(sqlite, ("anna", 1, "smörgåsbord"))
    (file,) = files_of(opened())
    assert file.read() == "smörgåsbord".encode()
    assert file.size == len(file.read())


def test_null_data_is_an_empty_file_and_noted(sqlite, opened):
    put(sqlite, ("anna", 1, None))
    source = opened()
    (file,) = files_of(source)
    assert (file.size, file.read()) == (0, b"")
    assert "contacts: 1 rows have no data" in source.inspect().notes


def test_rows_without_a_user_are_unowned(sqlite, opened):
    put(sqlite, (None, 1, b"lost"), (None, 2, b"lost too"), ("anna", 3, b"hers"))
    (unowned,) = opened().inspect().unowned
    assert (unowned.why, unowned.files, unowned.size) == ("contacts: rows without a user", 2, 12)


def test_rows_whose_user_is_not_utf_8_are_unowned_and_harm_nobody(sqlite, opened):
    sqlite.execute("INSERT INTO cards (owner, id, data) VALUES (CAST(x'FF41' AS TEXT), 1, 'x')")
    put(sqlite, ("anna", 1, b"hers"))
    source = opened()
    assert list(source.users()) == ["anna"]
    assert [unowned.files for unowned in source.inspect().unowned] == [1]


def test_text_that_is_not_utf_8_comes_as_its_bytes(sqlite, opened):
    sqlite.execute(
        "INSERT INTO cards (owner, id, data) VALUES ('anna', 1, CAST(x'46FF46' AS TEXT))"
    )
    sqlite.commit()
    (file,) = files_of(opened())
    assert file.read() == b"F\xffF"


def test_an_id_that_is_not_utf_8_is_a_name_like_any_other(sqlite, opened, monkeypatch):
    monkeypatch.setattr(row_columns, "INLINE_BYTES", 1)
    sqlite.execute(
        "INSERT INTO cards (owner, id, data) VALUES ('anna', CAST(x'FF' AS TEXT), 'first')"
    )
    put(sqlite, ("anna", None, b"second"), ("anna", 1.5, b"third"))
    files = files_of(opened())
    assert sorted(file.read() for file in files) == [b"first", b"second", b"third"]
    assert len({file.name for file in files}) == 3
    assert all(file.name.encode() for file in files)


def test_users_in_number_columns_are_the_numbers_as_they_are_spelled(tmp_path, opened):
    with sqlite3.connect(tmp_path / "recovered.db") as connection:
        connection.execute("CREATE TABLE cards (owner INTEGER, id, data)")
        connection.execute("INSERT INTO cards VALUES (7, 1, 'seven')")
    connection.close()
    source = opened()
    assert list(source.users()) == ["7"]
    assert [file.read() for file in files_of(source, "7")] == [b"seven"]
    for other in ("07", "7.0", " 7", "7 ", "+7"):
        assert files_of(source, other) == []


def test_a_loose_collation_gives_nobody_anothers_rows(tmp_path, opened):
    with sqlite3.connect(tmp_path / "recovered.db") as connection:
        connection.execute("CREATE TABLE cards (owner TEXT COLLATE NOCASE, id, data)")
        connection.execute("INSERT INTO cards VALUES ('Anna', 1, 'upper'), ('anna', 2, 'lower')")
    connection.close()
    source = opened()
    assert list(source.users()) == ["Anna", "anna"]
    assert [file.read() for file in files_of(source, "anna")] == [b"lower"]
    assert [file.read() for file in files_of(source, "Anna")] == [b"upper"]


def test_rows_with_the_same_id_are_all_given(sqlite, opened, monkeypatch):
    put(sqlite, ("anna", 1, b"same size b"), ("anna", 1, b"same size a"), ("anna", 2, b"other"))
    contents = [b"same size b", b"same size a", b"other"]
    files = files_of(opened())
    assert [file.name for file in files] == ["1", "1#2", "2"]
    assert sorted(file.read() for file in files) == sorted(contents)
    monkeypatch.setattr(row_columns, "INLINE_BYTES", 1)
    files = files_of(opened())
    assert sorted(file.read() for file in files) == sorted(contents)


def test_values_that_do_not_fit_the_listing_are_read_when_asked_for(sqlite, opened, monkeypatch):
    monkeypatch.setattr(recovered_rows, "BUDGET_BYTES", 5_000)
    monkeypatch.setattr(row_files, "WINDOW_BYTES", 3_000)
    contents = [b"%04d" % number * (1 + number % 300) for number in range(100)]
    put(sqlite, *(("anna", number, data) for number, data in enumerate(contents)))
    files = files_of(opened())
    assert [file.size for file in files] == [len(data) for data in contents]
    assert [file.read() for file in files] == contents
    assert [file.read() for file in reversed(files)] == contents[::-1]


def test_lazy_values_are_not_read_with_the_listing(sqlite, opened):
    put(sqlite, ("anna", 1, b"before"))
    (file,) = files_of(opened(Rows(table="cards", lazy=True, **COLUMNS)))
    sqlite.execute("UPDATE cards SET data = ?", (b"later!",))
    sqlite.commit()
    assert file.read() == b"later!"


def test_a_row_that_is_gone_or_changed_since_its_listing_is_unreadable(sqlite, opened):
    put(sqlite, ("anna", 1, b"first"), ("anna", 2, b"second"))
    gone, changed = files_of(opened(Rows(table="cards", lazy=True, **COLUMNS)))
    sqlite.execute("DELETE FROM cards WHERE id = 1")
    sqlite.execute("UPDATE cards SET data = 'other length' WHERE id = 2")
    sqlite.commit()
    assert rejection(gone).reason is Reason.UNREADABLE
    assert rejection(changed).reason is Reason.UNREADABLE


def test_a_value_over_the_limit_is_never_read(sqlite, opened):
    put(sqlite, ("anna", 1, b"x" * 1001), ("anna", 2, b"y" * 1000))
    large, fits = files_of(opened(file_bytes=1000))
    assert rejection(large).reason is Reason.TOO_LARGE
    assert large.size == 1001
    assert fits.read() == b"y" * 1000


def test_the_given_hash_is_checked_in_text_and_bytes(sqlite, opened):
    good = sha256(b"data")
    sqlite.executemany(
        "INSERT INTO cards (owner, id, data, hash) VALUES ('anna', ?, ?, ?)",
        [
            (1, b"data", good.hexdigest().upper()),
            (2, b"data", good.digest()),
            (3, b"data", None),
            (4, b"rotten", good.hexdigest()),
            (5, b"data", "not a hash"),
        ],
    )
    sqlite.commit()
    files = files_of(opened(Rows(table="cards", sha256="hash", **COLUMNS)))
    assert [file.read() for file in files[:3]] == [b"data"] * 3
    for file in files[3:]:
        assert rejection(file).reason is Reason.CHECKSUM
    assert rejection(files[3]).data == b"rotten"


@pytest.mark.guarantee(13)
def test_a_hash_from_before_the_loss_vouches_for_what_matches_it(sqlite, opened):
    good = sha256(b"data")
    sqlite.executemany(
        "INSERT INTO cards (owner, id, data, hash) VALUES ('anna', ?, ?, ?)",
        [(1, b"data", good.hexdigest()), (2, b"dat4", good.digest()), (3, b"data", None)],
    )
    sqlite.commit()
    rows = Rows(table="cards", sha256="hash", **COLUMNS)
    source = opened(rows, digests=Digests.BEFORE_LOSS)
    same, flipped, unknown = files_of(source)
    expected = Vouched(head=b"data", length=4, sha256=good.digest(), content=b"data")
    assert same.vouched() == expected
    with pytest.raises(ItemRejected) as raised:
        flipped.vouched()
    assert (raised.value.reason, raised.value.data) == (Reason.CHECKSUM, b"dat4")
    assert unknown.vouched is None
    assert any("2 files are vouched for" in note for note in source.inspect().notes)
    assert all(file.vouched is None for file in files_of(opened(rows)))


def test_what_lies_beside_is_a_file_of_its_own(sqlite, opened):
    sqlite.execute("INSERT INTO cards (owner, id, data, json) VALUES ('anna', 'a', 'photo', '{}')")
    sqlite.execute("INSERT INTO cards (owner, id, data) VALUES ('anna', 'b', 'alone')")
    sqlite.commit()
    first, second = files_of(opened(Rows(table="cards", beside={"json": "json"}, **COLUMNS)))
    (sidecar,) = first.beside
    assert (sidecar.name, sidecar.size, sidecar.read()) == ("a.json", 2, b"{}")
    assert second.beside == ()


def test_columns_become_one_json_object(tmp_path, opened):
    with sqlite3.connect(tmp_path / "recovered.db") as connection:
        connection.execute("CREATE TABLE scores (player, id, board, points, raw)")
        connection.execute("INSERT INTO scores VALUES ('anna', 1, 'Tetrïs', 12, x'00FF')")
        connection.execute("INSERT INTO scores VALUES ('anna', 2, NULL, 1.5, NULL)")
        connection.execute("INSERT INTO scores VALUES ('anna', 3, CAST(x'FF' AS TEXT), 9e999, 1)")
    connection.close()
    fields = {"value": "points", "board": "board", "raw": "raw"}
    rows = Rows(table="scores", user="player", id="id", fields=fields)
    first, second, damaged = files_of(opened(rows))
    assert first.read() == '{"board":"Tetrïs","raw":"AP8=","value":12}'.encode()
    assert second.read() == b'{"board":null,"raw":null,"value":1.5}'
    assert first.size == len(first.read())
    error = rejection(damaged)
    assert error.reason is Reason.ENCODING
    assert error.data == b'{"board":{"base64":"/w=="},"raw":1,"value":"inf"}'
    assert damaged.size == len(error.data)
    assert "board" in error.detail


def test_objects_that_do_not_fit_the_listing_are_read_when_asked_for(sqlite, opened, monkeypatch):
    monkeypatch.setattr(recovered_rows, "BUDGET_BYTES", 100)
    put(sqlite, *(("anna", number, number * 2) for number in range(50)))
    files = files_of(opened(Rows(table="cards", user="owner", id="id", fields={"v": "data"})))
    assert [file.read() for file in files] == [b'{"v":%d}' % (n * 2) for n in range(50)]


def test_a_query_serves_like_a_table(sqlite, opened):
    put(sqlite, ("anna", 1, "at 12:30 :name %s"), ("bert", 2, "his"))
    query = "SELECT owner AS who, id, data || ' ::text' AS data FROM cards WHERE data LIKE '%:%' ;"
    rows = Rows(query=query, user="who", id="id", data="data")
    source = opened(rows)
    assert list(source.users()) == ["anna"]
    assert [file.read() for file in files_of(source)] == [b"at 12:30 :name %s ::text"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2009-09-30 12:00:00", datetime(2009, 9, 30, 12, tzinfo=UTC)),
        ("2009-09-30T12:00:00-07:00", datetime(2009, 9, 30, 19, tzinfo=UTC)),
        (1254312000, datetime(2009, 9, 30, 12, tzinfo=UTC)),
        (1254312000000, datetime(2009, 9, 30, 12, tzinfo=UTC)),
        (1254312000000000, datetime(2009, 9, 30, 12, tzinfo=UTC)),
        ("yesterday", None),
        (b"\xff", None),
        (float("inf"), None),
        (None, None),
    ],
)
def test_times_are_understood_however_they_are_kept(sqlite, opened, value, expected):
    sqlite.execute("INSERT INTO cards (owner, id, data, at) VALUES ('anna', 1, 'x', ?)", (value,))
    sqlite.commit()
    source = opened(Rows(table="cards", modified="at", **COLUMNS))
    assert files_of(source)[0].modified == expected
    assert source.inspect().newest == expected


@pytest.mark.usefixtures("sqlite")
def test_a_missing_table_is_named(opened):
    with pytest.raises(Unavailable, match="no table 'card' for contacts") as raised:
        opened(Rows(table="card", **COLUMNS)).inspect()
    assert raised.value.hint


@pytest.mark.usefixtures("sqlite")
def test_a_missing_column_is_named(opened):
    rows = Rows(table="cards", user="owner", id="id", data="vcard")
    with pytest.raises(Unavailable, match="has no column 'vcard'") as raised:
        opened(rows).inspect()
    assert "data" in raised.value.hint


def test_names_of_tables_and_columns_are_quoted(tmp_path, opened):
    with sqlite3.connect(tmp_path / "recovered.db") as connection:
        connection.execute('CREATE TABLE "drop table ""x"";--" ("select", "a b", "d:x%s")')
        connection.execute("""INSERT INTO "drop table ""x"";--" VALUES ('anna', 1, 'kept')""")
    connection.close()
    rows = Rows(table='drop table "x";--', user="select", id="a b", data="d:x%s")
    assert [file.read() for file in files_of(opened(rows))] == [b"kept"]


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "nonsense", "db://x/y", "env:X"]
)
def test_an_address_that_leads_nowhere_has_a_hint(opened, url):
    with pytest.raises(Unavailable) as raised:
        opened(url=url).inspect()
    assert raised.value.hint


def test_a_password_is_never_in_a_message(opened):
    url = "postgresql://anna:hunter2@127.0.0.1:1/nowhere?connect_timeout=1"
    with pytest.raises(Unavailable) as raised:
        opened(url=url).inspect()
    assert "hunter2" not in f"{raised.value}{raised.value.hint}{raised.value.__cause__}"


def test_a_file_that_is_no_database_is_unavailable(tmp_path, opened):
    (tmp_path / "recovered.db").write_bytes(b"\0" * 8192 + b"not a database")
    with pytest.raises(Unavailable):
        opened().inspect()


@pytest.mark.guarantee(16)
def test_a_damaged_page_harms_only_the_rows_on_it(tmp_path, sqlite, opened):
    sqlite.execute("CREATE INDEX by_owner ON cards (owner, id)")
    big = {number: bytes((number,)) * 20_000 for number in range(1, 6)}
    put(sqlite, *(("anna", number, data) for number, data in big.items()), ("bert", 1, b"his"))
    path = tmp_path / "recovered.db"
    content = bytearray(path.read_bytes())
    page = content.index(big[3][:4000]) // 4096 * 4096
    content[page : page + 4] = b"\xff\xff\xff\xff"  # where the value's next page is
    path.write_bytes(content)
    source = opened()
    files = files_of(source)
    assert [file.name for file in files] == ["1", "2", "3", "4", "5"]
    for file in files:
        if file.name == "3":
            assert rejection(file).reason is Reason.UNREADABLE
        else:
            assert file.read() == big[int(file.name)]
    assert [file.read() for file in files_of(source, "bert")] == [b"his"]
    assert source.inspect().notes


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"user": "u", "id": "i", "data": "d"}, "exactly one of 'table' and 'query'"),
        ({"table": "t", "query": "q", **COLUMNS}, "exactly one of 'table' and 'query'"),
        ({"table": "t", "user": "u", "id": "i"}, "exactly one of 'data' and 'fields'"),
        ({"query": "q", "schema": "s", **COLUMNS}, "'schema' goes with 'table'"),
        ({"table": "t", "wher": "x", **COLUMNS}, "wher"),
    ],
)
def test_options_that_contradict_themselves_are_refused(options, problem):
    document = {"url": "env:URL", "categories": {"contacts": options}}
    with pytest.raises(ValidationError, match=problem):
        TypeAdapter(Sql).validate_python(document)


LOOSE = """
CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)
"""


# PostgreSQL ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_", "value", "user", "others"),
    [
        ("integer", "7", "7", ["07", "x", "99999999999999999999", "", "7.0"]),
        ("bigint", "9007199254740993", "9007199254740993", ["9007199254740992"]),
        ("uuid", "'{0}'", "0d3a5ea1-25c7-4f30-b8fb-3c0e0f0ea0c4", ["0D3A5EA1", "x"]),
        ("text", "'Zoë'", "Zoë", ["Zoe\u0308", "zoë", "Zo\0ë", "\ud800"]),
        ("varchar(9)", "'a '", "a ", ["a", "a  "]),
        ("numeric", "12.50", "12.50", ["12.5"]),
        ("text COLLATE loose", "'Anna'", "Anna", ["anna"]),
    ],
)
def test_users_are_found_whatever_the_type_of_their_column(
    server, opened, type_, value, user, others
):
    run(
        server,
        LOOSE,
        f"CREATE TABLE cards (owner {type_}, id integer, data text)",
        f"INSERT INTO cards VALUES ({value.format(user)}, 1, 'x')",
    )
    source = opened(url=server.url)
    assert list(source.users()) == [user]
    assert [file.read() for file in files_of(source, user)] == [b"x"]
    for other in others:
        assert files_of(source, other) == []


def test_plain_postgresql_addresses_work(server, opened):
    run(server, "CREATE TABLE cards (owner text, id int, data text)")
    url = server.url.set(drivername="postgresql").render_as_string(hide_password=False)
    assert opened(url=url).inspect().manifest


def test_every_type_of_data_comes_as_its_bytes(server, opened):
    run(
        server,
        "CREATE TABLE cards (owner text, id int, data bytea, doc json, docb jsonb, txt text)",
        """INSERT INTO cards VALUES
           ('anna', 1, '\\x00ff', '{"b": 1,  "a":2}', '{"b":1}', 'é')""",
    )
    expected = {"data": b"\x00\xff", "doc": b'{"b": 1,  "a":2}', "docb": b'{"b": 1}', "txt": "é"}
    for name, data in expected.items():
        rows = Rows(table="cards", user="owner", id="id", data=name)
        (file,) = files_of(opened(rows, url=server.url))
        assert file.read() == (data.encode() if isinstance(data, str) else data)
        assert file.size == len(file.read())


def test_fields_of_a_server_are_json_of_their_types(server, opened):
    run(
        server,
        "CREATE TABLE scores (player text, id int, points bigint, at timestamptz, day date,"
        " ratio numeric, tags text[], doc jsonb, raw bytea, ok bool)",
        """INSERT INTO scores VALUES ('anna', 1, 9007199254740993, '2009-09-30 12:00+00',
           '2009-09-30', 1.10, '{a,b}', '{"k": [1]}', '\\x00', true)""",
    )
    names = ("points", "at", "day", "ratio", "tags", "doc", "raw", "ok")
    rows = Rows(table="scores", user="player", id="id", fields={name: name for name in names})
    (file,) = files_of(opened(rows, url=server.url))
    assert file.read() == (
        b'{"at":"2009-09-30T12:00:00+00:00","day":"2009-09-30","doc":{"k":[1]},"ok":true,'
        b'"points":9007199254740993,"ratio":1.10,"raw":"AA==","tags":["a","b"]}'
    )


def test_nothing_can_be_written_even_by_a_query(server, opened):
    run(
        server,
        "CREATE TABLE cards (owner text, id int, data text)",
        "INSERT INTO cards VALUES ('anna', 1, 'x')",
        "CREATE FUNCTION spoil() RETURNS text LANGUAGE sql AS "
        "$$ DELETE FROM cards RETURNING data $$",
    )
    rows = Rows(query="SELECT owner, id, spoil() AS data FROM cards", **COLUMNS)
    with pytest.raises(Unavailable):
        files_of(opened(rows, url=server.url))
    with server.begin() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM cards").scalar() == 1


@pytest.mark.guarantee(16)
def test_a_value_that_the_server_cannot_give_harms_no_other(server, opened):
    run(
        server,
        "CREATE TABLE cards (owner text, id int, data text)",
        "INSERT INTO cards SELECT 'anna', n, 'card ' || n FROM generate_series(1, 5) AS n",
        "INSERT INTO cards VALUES ('bert', 1, 'his')",
    )
    query = (
        "SELECT owner, id, CASE WHEN owner = 'anna' AND id = 3 "
        "THEN (1 / (id - 3))::text ELSE data END AS data FROM cards"
    )
    source = opened(Rows(query=query, **COLUMNS), url=server.url)
    anna, bert = (list(folder.files) for folder in source.folders("contacts", ["anna", "bert"]))
    assert [file.name for file in anna] == ["1", "2", "3", "4", "5"]
    assert rejection(anna[2]).reason is Reason.UNREADABLE
    assert [file.read() for file in anna if file.name != "3"] == [
        b"card 1",
        b"card 2",
        b"card 4",
        b"card 5",
    ]
    assert [file.read() for file in bert] == [b"his"]
    assert "contacts: some values cannot be read any more" in source.inspect().notes


def test_a_schema_is_named_apart(server, opened):
    run(
        server,
        'CREATE SCHEMA "Old"',
        'CREATE TABLE "Old".cards (owner text, id int, data text)',
        """INSERT INTO "Old".cards VALUES ('anna', 1, 'x')""",
    )
    rows = Rows(table="cards", schema="Old", **COLUMNS)
    assert [file.read() for file in files_of(opened(rows, url=server.url))] == [b"x"]
    with pytest.raises(Unavailable, match="no table"):
        opened(url=server.url).inspect()


def test_a_server_that_stops_answering_is_unavailable_and_found_again(server, opened):
    run(
        server,
        "CREATE TABLE cards (owner text, id int, data text)",
        "INSERT INTO cards VALUES ('anna', 1, 'x')",
    )
    source = opened(url=server.url)
    assert files_of(source)
    run(
        server,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND datname = current_database()",
    )
    assert files_of(source), "a lost connection is made again"


def test_no_message_holds_what_the_database_holds(server, opened):
    run(server, "CREATE TABLE cards (owner text, id int, data text)")
    query = "SELECT owner, id, data, 'secret canary'::int AS bad FROM cards"
    with pytest.raises(Unavailable) as raised:
        opened(Rows(query=query, **COLUMNS), url=server.url).inspect()
    assert "canary" not in f"{raised.value}{raised.value.hint}{raised.value.__cause__!r}"


@pytest.fixture
def unchecked(postgres):
    name = "unchecked_text"
    with postgres.connect() as connection:
        connection.execute(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0")
    with psycopg.connect(host=str(postgres.folder), user="postgres", dbname=name) as connection:
        connection.execute("CREATE TABLE cards (owner text, id text, data text, other text)")
        connection.execute(
            "INSERT INTO cards VALUES ('anna', E'1\\xe9', E'caf\\xe9', 'x'),"
            " ('anna', '2', 'fine', E'\\xe9'), (E'b\\xe9', '3', 'x', 'x')"
        )
    yield postgres.url(name)
    with postgres.connect() as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_text_that_the_server_never_checked_comes_as_its_bytes(unchecked, opened):
    for lazy in (False, True):
        source = opened(Rows(table="cards", lazy=lazy, **COLUMNS), url=unchecked)
        assert [file.read() for file in files_of(source)] == [b"caf\xe9", b"fine"]
        assert list(source.users()) == ["anna"]
        assert [unowned.files for unowned in source.inspect().unowned] == [1]
    fields = Rows(table="cards", user="owner", id="id", fields={"a": "data", "b": "other"})
    first, second = files_of(opened(fields, url=unchecked))
    assert rejection(first).data == b'{"a":{"base64":"Y2Fm6Q=="},"b":"x"}'
    assert rejection(second).reason is Reason.ENCODING
