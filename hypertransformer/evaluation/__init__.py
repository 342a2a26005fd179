"""Evaluates checkpoints on many tasks, writes the results, and keeps the best checkpoint."""
