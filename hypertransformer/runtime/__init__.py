"""What training, evaluation, learners and parity share: sessions, checkpoints, summaries."""
