"""Where recovered material lies: one module a kind, read only."""
