"""Which schema a ledger has, whether this release can work with it, and how it gets there.

See `migrations` for what contract and revision mean.
"""

from enum import StrEnum
from pathlib import Path

from msgspec import Struct
from sqlalchemy import Column, Connection, MetaData, String, Table, insert, inspect, select

from orchestrator.errors import Refused
from orchestrator.ledger import schema

REVISIONS = Path(__file__).parent / "migrations" / "versions"

stamp = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))
"""Alembic's own table; not part of our metadata, or autogenerate would want to make it."""


class Age(StrEnum):
    """What a ledger is to this release."""

    EMPTY = "empty"
    CURRENT = "current"
    EXPANDED = "expanded"
    """By a newer release, of the same contract: works."""
    BEHIND = "behind"
    """Of an older release: has to be migrated."""
    FOREIGN = "foreign"
    """Of a newer release and another contract, or never under revisions: cannot be used."""


class Standing(Struct, frozen=True, kw_only=True):
    """What was found in a ledger."""

    age: Age
    contract: int | None = None
    revision: str | None = None
    key_check: bytes | None = None


def revisions(folder: Path = REVISIONS) -> list[str]:
    """Every revision that this release knows, oldest first. Alembic is dear to import."""
    return sorted(path.name[1:5] for path in folder.glob("r[0-9][0-9][0-9][0-9]_*.py"))


def standing(connection: Connection, *, folder: Path = REVISIONS) -> Standing:
    """What this ledger is to this release; changes nothing."""
    tables = inspect(connection)
    if not tables.has_table(schema.schema_version.name):
        return Standing(age=Age.EMPTY)
    contract, key_check = connection.execute(
        select(schema.schema_version.c.version, schema.schema_version.c.key_check)
    ).one()
    revision = None
    if tables.has_table(stamp.name):
        revision = connection.execute(select(stamp.c.version_num)).scalar_one_or_none()
    return Standing(
        age=_age(contract, revision, revisions(folder)),
        contract=contract,
        revision=revision,
        key_check=key_check,
    )


def _age(contract: int, revision: str | None, known: list[str]) -> Age:
    if revision in known:
        if revision != known[-1]:
            return Age.BEHIND
        return Age.CURRENT if contract == schema.VERSION else Age.FOREIGN
    if revision is not None and contract == schema.VERSION:
        return Age.EXPANDED
    return Age.FOREIGN


def create(connection: Connection) -> None:
    """Make every table in an empty database: what all revisions together make, without Alembic."""
    schema.metadata.create_all(connection)
    stamp.create(connection)
    connection.execute(insert(schema.schema_version).values(version=schema.VERSION))
    connection.execute(insert(stamp).values(version_num=revisions()[-1]))


def upgrade(connection: Connection, *, folder: Path = REVISIONS) -> None:
    """Go through every revision that is missing, in the transaction of `connection`."""
    from alembic import command  # noqa: PLC0415  costs 300 ms, and is seldom needed
    from alembic.config import Config  # noqa: PLC0415

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", _plain(REVISIONS.parent))
    config.set_main_option("version_locations", _plain(folder))
    config.set_main_option("path_separator", "newline")
    command.upgrade(config, "head")


def _plain(path: Path) -> str:
    return str(path).replace("%", "%%")  # Alembic reads it as a ConfigParser does


def usable(found: Standing) -> None:
    """Raises `Refused` where this release cannot work with such a ledger as it is."""
    match found.age:
        case Age.CURRENT | Age.EXPANDED | Age.EMPTY:
            return
        case Age.BEHIND:
            raise Refused(
                f"the ledger is at revision {found.revision}, this release needs {revisions()[-1]}",
                hint="bring it there first: reinstate migrate",
            )
        case Age.FOREIGN if found.revision is None:
            raise Refused(
                "the ledger was made before revisions were counted",
                hint="run the release that made it, or point REINSTATE_LEDGER_URL at a new one",
            )
        case Age.FOREIGN:
            raise Refused(
                f"the ledger has schema {found.contract} (revision {found.revision}), this"
                f" release needs {schema.VERSION}",
                hint="it belongs to a newer release: use that one everywhere",
            )
