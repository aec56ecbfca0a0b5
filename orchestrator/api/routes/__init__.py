"""Routes, a module a subject; each has a `router`, listed in `orchestrator.api.app`."""
