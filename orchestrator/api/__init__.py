"""The HTTP API: thin routes over the use cases. `docs/api.md` says how a route is added."""
