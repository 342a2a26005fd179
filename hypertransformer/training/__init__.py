"""Training: losses, optimizer, the monitored session loop, checkpoints, summaries."""
