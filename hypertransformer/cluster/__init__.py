"""A run in several processes: who each of them is, and how they start, wait and end together."""
