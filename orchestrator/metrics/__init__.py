"""What programs read of an installation: numbers for Prometheus, never anything about a person."""
