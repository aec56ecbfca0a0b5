"""A source and a target that cost nothing, so that what is measured is the orchestrator."""
