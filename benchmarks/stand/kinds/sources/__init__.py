"""Sources for measuring; found through the entry point that `stand.installed` makes."""
