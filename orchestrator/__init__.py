"""Decides what is restored, when and for whom; never touches personal data."""

VERSION = "0.1.0"
