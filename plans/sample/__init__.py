"""A sample population with seeded damage, and the independent recount of its restoration."""
