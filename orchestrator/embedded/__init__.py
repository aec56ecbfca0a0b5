"""Everything on one machine: broker, workers and conductor as processes that are looked after."""
