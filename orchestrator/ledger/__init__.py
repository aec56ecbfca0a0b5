"""Durable account of every run, unit and outcome; the only source of truth."""
