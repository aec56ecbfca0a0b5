"""The `reinstate` command."""
