"""Compares this package with numbers recorded from the original (docs/parity.md)."""
