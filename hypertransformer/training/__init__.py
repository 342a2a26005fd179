"""Training: losses, the optimizer, the training graph, and the loop that runs it."""
