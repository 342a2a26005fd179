"""The checkpoint evaluator: many tasks per checkpoint, results, the best checkpoint."""
