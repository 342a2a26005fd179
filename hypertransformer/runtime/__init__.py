"""What all that runs a model has in common: sessions, checkpoints and summaries."""
