"""Exchange and comparison with the original, google-research/hypertransformer.

Two things are done here. Checkpoints are converted between the original's variables and ours
(convert.py, which stands on names.py). And numbers that were recorded from the original are
compared with what we compute (checks.py, which stands on a module for each kind of recorded file).
"""
