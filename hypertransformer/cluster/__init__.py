"""A run in several processes: which task each of them is, and how they start, wait and end."""
