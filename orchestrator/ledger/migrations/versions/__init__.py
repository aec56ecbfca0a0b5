"""The revisions, oldest first; the number in a file's name is its revision."""
