"""What the benchmarks stand on: servers with their safety on, kinds that do nothing, figures."""
