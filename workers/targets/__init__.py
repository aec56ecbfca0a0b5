"""The live systems that users see: one module a kind."""
