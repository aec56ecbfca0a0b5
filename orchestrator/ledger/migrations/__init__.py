r"""How a ledger of one release becomes one of the next, by Alembic: expand, then contract.

Two facts say what a ledger is. Its *revision* (`alembic_version`) is the newest file of `versions`
that it went through; its *contract* (`schema_version.version`, `schema.VERSION` in the code) is a
number that grows only when something goes away that an older release still uses. A release works
with every ledger of its own contract, also with one that a newer release has expanded, so that
conductors and workers of two releases may run side by side while one replaces the other.

1. **Expand.** Only add: tables, indexes, columns that are nullable or have a server default. The
   contract stays. Deploy: `reinstate migrate` first, then the new release everywhere.
2. **Contract**, in a later release, when nothing of the one before expand runs any more: drop what
   is unused, and count both contracts up (`UPDATE schema_version SET version = version + 1` in the
   revision, `VERSION` in `schema.py`). Deploy: stop everything, migrate, start.

To add a revision, change `orchestrator/ledger/schema.py`, then, against a ledger that has all
revisions so far:

    REINSTATE_LEDGER_URL=sqlite:///draft.db alembic upgrade head
    REINSTATE_LEDGER_URL=sqlite:///draft.db alembic revision --autogenerate \
        --rev-id 0002 --message "say what it is for"

Read what it wrote: autogenerate sees neither fillfactors nor renames, and only one database. Times
are short: no revision may rewrite `unit`, `journal` or `account`, and an index on a large table is
made by hand with CREATE INDEX CONCURRENTLY before, `if_not_exists=True` in the revision.
`tests/integration/test_migrations.py` compares the result with the schema on both databases.

There is no downgrade. A ledger goes back by restoring the database, and targets are looked at
before anything is written again.
"""
