"""HyperTransformer: a transformer that writes the weights of a small CNN for each few-shot task.

Where to look (data flows in this order):
  flags.py, config.py   what a run is
  episodes/             arrays -> an episode of support and query images
  model/                support images -> tokens -> weight blocks -> CNN -> query logits
  run/                  losses, optimizer, the monitored training loop
  evaluate/             the checkpoint evaluator
  learners/             trained models for other programs
  original/            names and numbers of the original implementation (parity)
"""

import os

# Read when TensorFlow is first imported. oneDNN's kernels are what the original's numbers were
# recorded with, and convolve several times faster on the CPUs for which TensorFlow leaves them off
# (AMD, older Intel).
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')
# Keep oneDNN's prepared convolutions. By default TensorFlow prepares those of filter gradients, and
# of batches above 32, anew at every call to save memory: 65 us each, more than many of our
# convolutions take.
os.environ.setdefault('TF_MKL_OPTIMIZE_PRIMITIVE_MEMUSE', 'false')

__version__ = '0.2.0.dev0'
