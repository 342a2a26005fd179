"""Data on disk: safe reading of untrusted files, atomic writes, and datasets by class."""
