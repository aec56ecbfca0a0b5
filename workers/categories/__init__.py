"""What can be restored: one module a category, its name is the name in plans."""
