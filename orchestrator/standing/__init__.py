"""How runs, users and copies stand, asked of the ledger within one look each."""
