"""Tells the outside what happened to a run."""
