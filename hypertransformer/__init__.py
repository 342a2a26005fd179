"""HyperTransformer: a transformer writes the weights of a small CNN for each few-shot task.

The rooms of the package, in the order in which data flows:
  settings/    the flags of a run, and the configurations that their values become
  data/        untrusted files, atomic writes, and datasets: images by class
  converters/  datasets from downloads, folders of images or generated characters
  episodes/    images by class -> episodes: an augmented support set and query set
  model/       support images -> tokens -> weight blocks -> CNN -> logits of the query images
  pictures/    arrays of an episode -> images for people
  runtime/     shared by the rooms below: sessions, checkpoints, run directories, TensorBoard
  cluster/     the tasks of TF_CONFIG: how they find each other, and end together
  training/    episode -> loss -> update of the variables
  evaluation/  the accuracy of every checkpoint on many tasks
  learners/    trained models in Python: learn from images, then predict labels
  reports/     what runs have written -> tables, figures and pages
  checkpoint_conversion/   the original's checkpoints <-> ours
  commands/    programs: the commands beside train, evaluate and report

The programs train.py, evaluate_model.py and report.py are beside the rooms, and so is __main__.py,
which lists the commands. The method is described in docs/spec/model.md, data.md and continual.md.
"The original" is the code of google-research/hypertransformer.
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
# of batches above 32, again at every call to save memory: 65 us each, more than many of our
# convolutions take.
os.environ.setdefault('TF_MKL_OPTIMIZE_PRIMITIVE_MEMUSE', 'false')

__version__ = '0.3.0'

if TYPE_CHECKING:
  from hypertransformer.evaluate_model import evaluate
  from hypertransformer.learners import ContinualLearner, FewShotLearner, pretrained_names
  from hypertransformer.model.cnn import Architecture, register_cnn
  from hypertransformer.train import train

__all__ = [
  'Architecture',
  'ContinualLearner',
  'FewShotLearner',
  'InputError',
  'evaluate',
  'pretrained_names',
  'register_cnn',
  'train',
]
# Names that are imported when they are used first, since TensorFlow takes seconds to import.
_LAZY = {
  'Architecture': 'hypertransformer.model.cnn',
  'ContinualLearner': 'hypertransformer.learners',
  'FewShotLearner': 'hypertransformer.learners',
  'evaluate': 'hypertransformer.evaluate_model',
  'pretrained_names': 'hypertransformer.learners',
  'register_cnn': 'hypertransformer.model.cnn',
  'train': 'hypertransformer.train',
}


def __getattr__(name: str) -> Any:
  if name not in _LAZY:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
  return sorted({*globals(), *__all__})
