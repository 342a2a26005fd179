"""Reads files of strangers without danger, and writes files either whole or not at all."""
