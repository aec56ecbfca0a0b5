"""Plans that run, and the sample population that they restore."""
