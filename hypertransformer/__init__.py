"""HyperTransformer: a transformer writes the weights of a small CNN for each few-shot task.

The rooms of the package, in the order in which data flows:
  settings/    what a run is: its flags, and the configurations that their values become
  files/       reads files of strangers safely, and writes files whole or not at all
  datasets/    finds and reads the data files: images by class
  converters/  makes data files, from downloads, folders of images or drawn characters
  episodes/    images by class -> episodes: a support set and a query set, changed at random
  model/       support images -> tokens -> weight blocks -> CNN -> logits of the query images
  pictures/    arrays of an episode -> pictures for people
  runtime/     what the rooms below stand on: sessions, checkpoints and summaries
  cluster/     how the processes of a cluster find each other, and end together
  training/    logits -> loss -> update of the variables, again and again
  evaluation/  the accuracy of every checkpoint, over many tasks
  learners/    trained models for other programs: learn from images, then predict labels
  reports/     what runs have written -> pages and figures
  checkpoint_conversion/   the original's checkpoints <-> ours

The programs that one starts lie beside the rooms: train.py, evaluate_model.py and report.py. The
method is described in docs/spec/model.md, data.md and continual.md. "The original" is the code of
google-research/hypertransformer.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

from hypertransformer.errors import InputError

# Read when TensorFlow is first imported. oneDNN's kernels are what the original's numbers were
# recorded with, and convolve several times faster on the CPUs for which TensorFlow leaves them off
# (AMD, older Intel).
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')
# Keep oneDNN's prepared convolutions. By default TensorFlow prepares those of filter gradients, and
# of batches above 32, anew at every call to save memory: 65 us each, more than many of our
# convolutions take.
os.environ.setdefault('TF_MKL_OPTIMIZE_PRIMITIVE_MEMUSE', 'false')

__version__ = '0.3.0'

if TYPE_CHECKING:
  from hypertransformer.evaluate_model import evaluate
  from hypertransformer.learners import ContinualLearner, FewShotLearner, pretrained_names
  from hypertransformer.train import train

__all__ = [
  'ContinualLearner',
  'FewShotLearner',
  'InputError',
  'evaluate',
  'pretrained_names',
  'train',
]
# Names that are imported when they are used first, since TensorFlow takes seconds to import.
_LAZY = {
  'ContinualLearner': 'hypertransformer.learners',
  'FewShotLearner': 'hypertransformer.learners',
  'evaluate': 'hypertransformer.evaluate_model',
  'pretrained_names': 'hypertransformer.learners',
  'train': 'hypertransformer.train',
}


def __getattr__(name: str) -> Any:
  if name not in _LAZY:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
  return sorted({*globals(), *__all__})
