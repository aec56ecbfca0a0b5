"""The `sql` source: a table a category, a row a file; in SQLite and in PostgreSQL."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256

import sqlalchemy
from sqlalchemy import Column, DateTime, LargeBinary, MetaData, String, Table

from tests.conformance.source_example import CATEGORIES, Example, tree_trace
from workers.material.row_mapping import Rows
from workers.sources.sql import Sql

WRITTEN = datetime(2009, 9, 30, 12, tzinfo=UTC)


class Tables(Example):
    def hold(self, contents):
        self.make()
        metadata = MetaData()
        self.tables = {
            category: Table(
                f"the {category}",
                metadata,
                Column("Owner", String),
                Column("name", String),
                Column("data", LargeBinary),
                Column("sha256", String),
                Column("updated at", DateTime(timezone=True)),
            )
            for category in CATEGORIES
        }
        with self.engine.begin() as connection:
            metadata.create_all(connection)
            for owner, categories in contents.items():
                for category, files in categories.items():
                    for name, data in files.items():
                        connection.execute(
                            self.tables[category].insert(),
                            {
                                "Owner": owner,
                                "name": name,
                                "data": data,
                                "sha256": sha256(data).hexdigest(),
                                "updated at": WRITTEN,
                            },
                        )
        self.engine.dispose()

    def kind(self):
        columns = {"user": "Owner", "id": "name", "data": "data"}
        return Sql(
            url=self.url,
            categories={
                category: Rows(
                    table=f"the {category}", sha256="sha256", modified="updated at", **columns
                )
                for category in CATEGORIES
            },
        )

    def change(self, owner, category, name):
        data = b"something else"
        values = {"data": data, "sha256": sha256(data).hexdigest()}
        self.update(owner, category, name, values | {"updated at": WRITTEN + timedelta(seconds=1)})

    def damage(self, owner, category, name):
        self.update(owner, category, name, {"data": b"not what was hashed"})

    def update(self, owner, category, name, values):
        table = self.tables[category]
        with self.engine.begin() as connection:
            done = connection.execute(
                table.update().where(table.c.Owner == owner, table.c.name == name).values(values)
            )
            assert done.rowcount == 1
        self.engine.dispose()


class InSqlite(Tables):
    def make(self):
        (self.folder / "held").mkdir()
        self.url = "sqlite:///held/recovered.db"
        self.engine = sqlalchemy.create_engine(f"sqlite:///{self.folder}/held/recovered.db")

    def take_away(self):
        (self.folder / "held" / "recovered.db").unlink()

    def trace(self):
        return tree_trace(self.folder / "held")

    def extra_users(self):
        return ["", "nul\0inside"]


class InSqliteWithLog(InSqlite):
    """Left in write-ahead mode, as a server that was stopped leaves it."""

    def make(self):
        super().make()
        with self.engine.begin() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
        self.engine.dispose()


class InPostgres(Tables):
    def make(self):
        self.url = self.request.getfixturevalue("fresh_database")
        self.engine = sqlalchemy.create_engine(self.url)

    def take_away(self):
        self.engine.dispose()
        server = self.request.getfixturevalue("postgres")
        with server.connect() as connection:
            name = sqlalchemy.make_url(self.url).database
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def trace(self):
        found = {}
        with self.engine.connect() as connection:
            for name in sorted(sqlalchemy.inspect(connection).get_table_names()):
                rows = connection.exec_driver_sql(f'SELECT xmin, ctid, * FROM "{name}" ORDER BY 2')
                found[name] = [tuple(row) for row in rows]
        self.engine.dispose()
        return found

    def extra_users(self):
        return [""]


EXAMPLES = {"sqlite": InSqlite, "sqlite-wal": InSqliteWithLog, "postgresql": InPostgres}
