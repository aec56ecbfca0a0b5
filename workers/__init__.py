"""Does what the orchestrator decided: reads, validates, writes, reads back; never decides."""
