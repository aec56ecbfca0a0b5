"""Decides what is restored, when and for whom; never touches personal data."""
