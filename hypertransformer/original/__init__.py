"""The original implementation: its variable names and its recorded numbers."""
