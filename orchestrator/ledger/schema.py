"""Tables of the ledger. Times are milliseconds since the epoch, UTC, by the ledger's clock.

Why no index mentions a unit's state: such an index makes every update of a unit write twice (0 %
heap-only updates, a fifth of the speed). What needs attention has rows of its own in `exception`.

Everything that could name a person is sealed; `user_hash` is keyed.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    text,
)

from orchestrator.books import FIELDS

VERSION = 1
"""The contract that this release needs: grows only when something goes away, see `migrations`."""

metadata = MetaData()

WITH_LOSSES = "lost > 0 OR quarantined > 0 OR nameless > 0"
"""Of which units something is lost. Updates of the others stay heap-only despite the index: what
it looks at does not change in them."""

READY = "state = 'ready'"
OUT = "state IN ('dispatched', 'running')"
"""Batches that somebody has, or may come for. As text: SQLAlchemy's IN is written out each time."""
UNDONE = "state IN ('waiting', 'ready', 'dispatched', 'running') AND members IS NULL"
"""Batches of ranges that still have to end."""
DUE = "state = 'waiting' AND batch IS NULL AND awaits IS NULL"
"""Exceptions that no batch has taken yet, and that wait for nothing but their time."""
UNDELIVERED = "state = 'waiting'"
"""Deliveries that still have to arrive."""
AWAITING = "state = 'waiting' AND batch IS NULL AND awaits IS NOT NULL"
"""Those that wait for another phase of their user."""

_HALF_FULL = {"fillfactor": 50}
_Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows only by INTEGER keys


def _part(name: str, *columns: str, where: str) -> Index:
    """An index of some rows only, so that what is at work is found among what is done."""
    return Index(name, *columns, postgresql_where=text(where), sqlite_where=text(where))


def _sums() -> list[Column[int]]:
    return [Column(name, BigInteger, nullable=False, server_default="0") for name in FIELDS]


schema_version = Table(
    "schema_version",
    metadata,
    Column("version", Integer, primary_key=True),
    Column("key_check", LargeBinary(8)),  # tells keys apart without telling the key
)

run = Table(
    "run",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", Text, nullable=False),
    Column("purpose", String(8), nullable=False),  # restore | preview | verify | undo
    Column("state", String(20), nullable=False),
    Column("author", Text, nullable=False),
    Column("plan", Text, nullable=False),  # canonical JSON
    Column("plan_text", Text, nullable=False),  # as the operator wrote it
    Column("plan_digest", String(64), nullable=False),
    Column("folder", Text, nullable=False),  # where relative paths start
    Column("code_version", Text, nullable=False),
    Column("sample", Integer),  # preview: so many users; None: all
    Column("expected_digest", String(64)),  # submit --preview DIGEST
    Column("digest", String(64)),  # what is approved; known after inspection
    Column("inventory", Text),  # JSON: manifests, notes, unowned bytes, capabilities
    Column("users", Integer),
    Column("why", Text),  # why refused, paused, held
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("progressed_at", BigInteger),
    Column("accepted_by", Text),  # who accepted losses and quarantine
    Column("accepted_at", BigInteger),
    Column("about", String(16)),  # verify, undo: whose traces it looks at
    Column("root", String(16)),  # verify, undo, search, top-up: whose users and keys it has
    Column("closed_at", BigInteger),  # its keys were erased
    Column("closed_by", Text),
    Index("run_by_root", "root"),
)

listed = Table(
    "listed",
    metadata,
    Column("run", String(16), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("user_hash", LargeBinary(16), nullable=False),
    Column("sealed_id", LargeBinary, nullable=False),
)
"""The plan's list of affected users, as it was at submission."""

decline = Table(
    "decline",
    metadata,
    Column("run", String(16), primary_key=True),
    Column("user_hash", LargeBinary(16), primary_key=True),
    Column("added_at", BigInteger, nullable=False),
)
"""Users that are never restored. Rows are only ever added."""

census = Table(
    "census",
    metadata,
    Column("run", String(16), primary_key=True),
    Column("user_hash", LargeBinary(16), primary_key=True),
    Column("category", Text, primary_key=True),
    Column("expected", Integer, nullable=False),
)

run_user = Table(
    "run_user",
    metadata,
    Column("run", String(16), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("wave", SmallInteger, nullable=False),
    Column("user_hash", LargeBinary(16), nullable=False),
    Column("sealed_id", LargeBinary, nullable=False),
    Column("ambiguous", Boolean, nullable=False),
    Index("run_user_by_hash", "user_hash", "run"),
)
"""Numbers follow wave order, so that batches are ranges. Everything else knows the number only."""

cell = Table(
    "cell",
    metadata,
    Column("run", String(16), primary_key=True),
    Column("phase", SmallInteger, primary_key=True, autoincrement=False),
    Column("wave", SmallInteger, primary_key=True, autoincrement=False),
    Column("state", String(8), nullable=False),
    Column("units", Integer, nullable=False),
    Column("opened_at", BigInteger),
    Column("settled_at", BigInteger),
    Column("why", Text),
)
"""One phase in one wave."""

promotion = Table(
    "promotion",
    metadata,
    Column("run", String(16), primary_key=True),
    Column("phase", SmallInteger, primary_key=True, autoincrement=False),
    Column("wave", SmallInteger, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
)
"""Who let a gate pass by hand."""

unit = Table(
    "unit",
    metadata,
    Column("run", String(16), primary_key=True),
    Column("user", Integer, primary_key=True, autoincrement=False),
    Column("phase", SmallInteger, primary_key=True, autoincrement=False),
    Column("state", String(9), nullable=False),
    Column("attempts", SmallInteger, nullable=False, server_default="0"),
    Column("expected", Integer),
    Column("settled_at", BigInteger),
    *_sums(),
    _part("unit_with_losses", "run", "user", "phase", where=WITH_LOSSES),
    postgresql_with=_HALF_FULL,
)

batch = Table(
    "batch",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("run", String(16), nullable=False),
    Column("kind", String(8), nullable=False),  # inspect | preview | restore | verify | undo
    Column("phase", SmallInteger, nullable=False),
    Column("wave", SmallInteger, nullable=False),
    Column("first", Integer, nullable=False),
    Column("last", Integer, nullable=False),
    Column("members", Text),  # JSON list of user numbers; NULL: everyone from first to last
    Column("state", String(10), nullable=False),
    Column("epoch", Integer, nullable=False, server_default="0"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("crashes", Integer, nullable=False, server_default="0"),
    Column("progress", Integer, nullable=False, server_default="0"),
    Column("priority", SmallInteger, nullable=False, server_default="0"),
    Column("lease_until", BigInteger, nullable=False, server_default="0"),
    Column("not_before", BigInteger, nullable=False, server_default="0"),
    Column("worker", Text),
    Index("batch_by_state", "run", "state", "phase", "wave"),
    Index("batch_by_lease", "state", "lease_until"),
    _part("batch_in_order", "run", "priority", "wave", "phase", "id", where=READY),
    _part("batch_by_place", "run", "phase", "wave", "first", where=UNDONE),
    postgresql_with=_HALF_FULL,
)

exception = Table(
    "exception",
    metadata,
    Column("run", String(16), primary_key=True),
    Column("user", Integer, primary_key=True, autoincrement=False),
    Column("phase", SmallInteger, primary_key=True, autoincrement=False),
    Column("state", String(9), nullable=False),  # waiting | failed | held
    Column("cause", String(6), nullable=False),
    Column("not_before", BigInteger, nullable=False, server_default="0"),
    Column("awaits", SmallInteger),  # the phase of this user that has to end first
    Column("batch", BigInteger),  # the follow-up batch that has taken it
    Column("since", BigInteger, nullable=False),
    Index("exception_by_cause", "run", "cause", "user"),
    Index("exception_by_state", "run", "state", "not_before"),
    _part("exception_due", "run", "not_before", where=DUE),
    _part("exception_awaiting", "run", "user", "phase", where=AWAITING),
)
"""Units that need attention or time."""

cause = Table(
    "cause",
    metadata,
    Column("run", String(16), primary_key=True),
    Column("fingerprint", String(6), primary_key=True),
    Column("phase", SmallInteger, nullable=False),
    Column("code", Text, nullable=False),
    Column("sentence", Text, nullable=False),
    Column("transient", Boolean, nullable=False),
)

trouble = Table(
    "trouble",
    metadata,
    Column("run", String(16), primary_key=True),
    Column("phase", SmallInteger, primary_key=True, autoincrement=False),
    Column("cause", String(6), primary_key=True),
    Column("state", String(9), primary_key=True),
    Column("slot", SmallInteger, primary_key=True, autoincrement=False),
    Column("units", BigInteger, nullable=False),
    postgresql_with=_HALF_FULL,
)
"""How many exceptions there are of which cause; spread over slots, moved with them."""

counter = Table(
    "counter",
    metadata,
    Column("run", String(16), primary_key=True),
    Column("phase", SmallInteger, primary_key=True, autoincrement=False),
    Column("wave", SmallInteger, primary_key=True, autoincrement=False),
    Column("slot", SmallInteger, primary_key=True, autoincrement=False),
    Column("settled", BigInteger, nullable=False, server_default="0"),
    Column("failed", BigInteger, nullable=False, server_default="0"),
    Column("held", BigInteger, nullable=False, server_default="0"),
    Column("cancelled", BigInteger, nullable=False, server_default="0"),
    *_sums(),
    postgresql_with=_HALF_FULL,
)
"""Sums over units, moved in the transaction that moves the unit; spread over slots."""

choice = Table(
    "choice",
    metadata,
    Column("run", String(16), primary_key=True),
    Column("user", Integer, primary_key=True, autoincrement=False),
    Column("category", Text, primary_key=True),  # empty: every category
    Column("choice", String(9), nullable=False),  # keep-both | merge | keep-mine
    Column("who", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)
"""What single users want where the plan would decide for everyone."""

journal = Table(
    "journal",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("user_hash", LargeBinary(16), nullable=False),
    Column("place", LargeBinary(16), nullable=False),  # which target and category
    Column("run", String(16), nullable=False),
    Column("user", Integer, nullable=False),
    Column("phase", SmallInteger, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("verified", Boolean, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("journal_by_place", "user_hash", "place"),
    Index("journal_by_unit", "run", "user", "phase"),
)
"""What a unit was about to change, with what it replaced. Appended, never overwritten."""

account = Table(
    "account",
    metadata,
    Column("run", String(16), primary_key=True),
    Column("user", Integer, primary_key=True, autoincrement=False),
    Column("phase", SmallInteger, primary_key=True, autoincrement=False),
    Column("sealed", LargeBinary, nullable=False),
)
"""What became of each item of a unit."""

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("run", String(16), nullable=False),
    Column("user", Integer, nullable=False),
    Column("phase", SmallInteger, nullable=False),
    Column("source", Text, nullable=False),
    Column("reason", String(20), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("length", BigInteger, nullable=False),
    Column("released_at", BigInteger),
    Column("released_by", Text),
    Column("released", LargeBinary),  # what an operator handed back, sealed
    Column("sealed", LargeBinary, nullable=False),
    Index("quarantine_by_unit", "run", "user", "phase"),
    Index("quarantine_in_order", "run", "id"),
    _part("quarantine_by_reason", "run", "phase", "source", "reason", where="released_at IS NULL"),
)
"""Copies that failed validation, and why."""

approval = Table(
    "approval",
    metadata,
    Column("run", String(16), primary_key=True),
    Column("name", Text, primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
)

audit_log = Table(
    "audit_log",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("run", String(16)),
    Column("detail", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)
"""Who did what and when; each row holds the hash of the one before."""

conductor = Table(
    "conductor",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("term", Integer, nullable=False),
    Column("holder", Text, nullable=False),
    Column("lease_until", BigInteger, nullable=False),
)
"""One row: who leads, until when, in which term."""

speed = Table(
    "speed",
    metadata,
    Column("run", String(16), primary_key=True),
    Column("at", BigInteger, primary_key=True, autoincrement=False),
    Column("items", BigInteger, nullable=False),
    Column("units", BigInteger, nullable=False),
)
"""How much was done by when; what the estimate of the time left is made of."""

front = Table(
    "front",
    metadata,
    Column("run", String(16), primary_key=True),
    Column("user", Integer, primary_key=True, autoincrement=False),
)
"""Users who go first, by hand: what is made for them later goes first too."""

response = Table(
    "response",
    metadata,
    Column("run", String(16), primary_key=True),
    Column("phase", SmallInteger, primary_key=True, autoincrement=False),
    Column("slot", SmallInteger, primary_key=True, autoincrement=False),
    Column("ended", BigInteger, nullable=False, server_default="0"),
    Column("troubled", BigInteger, nullable=False, server_default="0"),
    Column("writes", BigInteger, nullable=False, server_default="0"),
    Column("spent_ms", BigInteger, nullable=False, server_default="0"),
    Column("retry_at", BigInteger, nullable=False, server_default="0"),
    Column("unread", BigInteger, nullable=False, server_default="0"),
    postgresql_with=_HALF_FULL,
)
"""How the target of a phase answers, in sums over batches; what flow control is fed with."""

circuit = Table(
    "circuit",
    metadata,
    Column("run", String(16), primary_key=True),
    Column("target", Text, primary_key=True),
    Column("state", String(8), nullable=False),  # open | probing
    Column("pause_ms", BigInteger, nullable=False),
    Column("probe_at", BigInteger, nullable=False),
)
"""Targets and sources that do not answer, and when one batch will find out if they do again."""

allowance = Table(
    "allowance",
    metadata,
    Column("run", String(16), primary_key=True),
    Column("phase", SmallInteger, primary_key=True, autoincrement=False),
    Column("items_until", BigInteger, nullable=False),
    Column("bytes_until", BigInteger, nullable=False),
    postgresql_with=_HALF_FULL,
)
"""Until when a phase's limits are used up by what its workers have reserved."""

token = Table(
    "token",
    metadata,
    Column("id", String(12), primary_key=True),
    Column("hash", LargeBinary(32), nullable=False),
    Column("purpose", Text, nullable=False),
    Column("holder", Text, nullable=False),
    Column("role", String(12), nullable=False),
    Column("scopes", Text, nullable=False),  # JSON list; empty: everything that the role may
    Column("runs", Text),  # JSON list of run ids; NULL: every run
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("last_used_at", BigInteger),
    Index("token_by_hash", "hash", unique=True),
)
"""Who may ask the API for what; the token itself is nowhere."""

browser_session = Table(
    "browser_session",
    metadata,
    Column("id", String(12), primary_key=True),
    Column("hash", LargeBinary(32), nullable=False),
    Column("previous", LargeBinary(32)),  # until a little after it was rotated
    Column("offered", Boolean, nullable=False),  # a login code that nobody has used yet
    Column("token", String(12)),  # NULL: by single sign-on
    Column("holder", Text, nullable=False),
    Column("role", String(12), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("runs", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("rotated_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Index("browser_session_by_hash", "hash", unique=True),
    Index("browser_session_by_previous", "previous"),
)
"""Browsers that are logged in, and codes that log one in once."""

idempotency = Table(
    "idempotency",
    metadata,
    Column("holder", Text, primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("request", LargeBinary(32), nullable=False),  # hash of method, path and body
    Column("status", Integer),  # NULL while it is being answered
    Column("sealed", LargeBinary),  # the answer
    Column("at", BigInteger, nullable=False),
    Index("idempotency_by_age", "at"),
)
"""What was answered to which Idempotency-Key."""

stored_plan = Table(
    "stored_plan",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("folder", Text, nullable=False),  # where relative paths start
    Column("author", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("stored_plan_by_age", "created_at", "id"),
)
"""Plans kept apart from runs; every version of each."""

operation = Table(
    "operation",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("run", String(16), nullable=False),
    Column("kind", String(12), nullable=False),  # retry
    Column("state", String(12), nullable=False),  # prepared | canary | started | dropped
    Column("query", LargeBinary, nullable=False),  # UTF-8; users by reference
    Column("units", BigInteger, nullable=False),
    Column("canary", Integer),
    Column("author", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("confirmed_by", Text),
    Column("confirmed_at", BigInteger),
    Index("operation_by_run", "run", "created_at", "id"),
)
"""Bulk work that was asked for: looked at first, then confirmed."""

operation_unit = Table(
    "operation_unit",
    metadata,
    Column("operation", String(16), primary_key=True),
    Column("user", Integer, primary_key=True, autoincrement=False),
    Column("phase", SmallInteger, primary_key=True, autoincrement=False),
    Column("begun", Boolean, nullable=False),
    Column("skipped", Text),  # why nothing was done about it
)
"""The units that an operation is about, frozen when it was prepared."""

data_key = Table(
    "data_key",
    metadata,
    Column("user_hash", LargeBinary(16), primary_key=True),  # zeros: of the run's list of users
    Column("run", String(16), primary_key=True),
    Column("maker", SmallInteger, primary_key=True, autoincrement=False),  # phase that made it
    Column("wrapped", LargeBinary, nullable=False),  # empty once it was erased
    Column("erased_at", BigInteger),
    Index("data_key_by_run", "run"),
)
"""What a run's journal, accounts and quarantine are sealed with, wrapped by the master key.

A user has one key a run; two where two phases came to need the first at the same moment.
"""

death = Table(
    "death",
    metadata,
    Column("batch", BigInteger, primary_key=True, autoincrement=False),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("run", String(16), nullable=False),
    Column("phase", SmallInteger, nullable=False),
    Column("user", Integer, nullable=False),
    Column("copy", LargeBinary(16), nullable=False),  # a keyed hash of which one
    Column("at", BigInteger, nullable=False),
    Index("death_by_unit", "run", "phase", "user"),
)
"""Attempts that ended with their worker while it had a copy in its hands."""

bulletin = Table(
    "bulletin",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run", String(16), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("text", Text, nullable=False),
    Column("next_due", BigInteger),  # when the next one was promised
    Column("who", Text, nullable=False),
    Index("bulletin_by_run", "run", "id"),
)
"""What was said in public about a run; with the first one it has a public page."""

public_page = Table(
    "public_page",
    metadata,
    Column("run", String(16), primary_key=True),
    Column("slug", String(63), nullable=False),  # the end of its address
    Column("title", Text, nullable=False),
    Column("support", Text, nullable=False),  # https://… or an address for mail; empty: none
    Column("choose_until", BigInteger),  # NULL: users choose until their things are begun
    Column("links", Integer, nullable=False, server_default="0"),  # generation of users' links
    Index("public_page_by_slug", "slug", unique=True),
)
"""How a run shows itself to the public, and until when its users may choose."""

claim = Table(
    "claim",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("run", String(16), nullable=False),
    Column("user", Integer, nullable=False),
    Column("category", Text, nullable=False),
    Column("had", BigInteger, nullable=False),
    Column("sees", BigInteger, nullable=False),
    Column("search", String(16), nullable=False),  # the preview that looks through all sources
    Column("top_up", String(16)),  # the run that brings back what it found
    Column("who", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("claim_by_run", "run", "at", "id"),
    Index("claim_by_user", "run", "user", "at"),
)
"""What users say they had and see now."""

notice = Table(
    "notice",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("run", String(16), nullable=False),
    Column("kind", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("data", Text, nullable=False),  # JSON; nothing about a person
)
"""What happened to a run, kept in the transaction in which it happened, to be told outside."""

delivery = Table(
    "delivery",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("run", String(16), nullable=False),
    Column("notice", String(26), nullable=False),
    Column("channel", String(9), nullable=False),  # webhook | operators
    Column("state", String(9), nullable=False),  # waiting | delivered | failed | gone
    Column("attempts", Integer, nullable=False, server_default="0"),  # since it was last sent again
    Column("tries", Integer, nullable=False, server_default="0"),  # in all
    Column("epoch", Integer, nullable=False, server_default="0"),
    Column("not_before", BigInteger, nullable=False),
    Column("lease_until", BigInteger, nullable=False, server_default="0"),
    Index("delivery_by_run", "run", "id"),
    Index("delivery_by_notice", "notice", "channel", unique=True),
    _part("delivery_waiting", "not_before", where=UNDELIVERED),
)
"""A notice on its way over one channel; leased like a batch while a worker tries."""

delivery_attempt = Table(
    "delivery_attempt",
    metadata,
    Column("delivery", Integer, primary_key=True, autoincrement=False),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("end", Text, nullable=False),
    Column("status", SmallInteger),  # of HTTP; NULL: there was no answer
    Column("duration_ms", Integer, nullable=False),
)
"""What came of each attempt; of answers only their status."""
