"""Readers: confined processes in which recovered bytes are parsed, a fresh one a batch."""
