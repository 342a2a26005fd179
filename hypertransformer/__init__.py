"""HyperTransformer: a transformer that writes the weights of a small CNN for each few-shot task.

Where to look (data flows in this order):
  flags.py, config.py   what a run is
  episodes/             arrays -> an episode of support and query images
  model/                support images -> tokens -> weight blocks -> CNN -> query logits
  run/                  losses, optimizer, the monitored training loop
  evaluate/             the checkpoint evaluator
  reference/            names and numbers of the original implementation (parity)
"""

__version__ = '0.1.0'
