"""What the values of options can be, in plans and in kinds: sizes, times, paths, references."""
