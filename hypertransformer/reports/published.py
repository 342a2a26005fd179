"""The accuracies of arXiv 2201.04182 for the tasks and CNNs of our scripts.

A run is held against one of them if it is of the same task and generates the same CNN. What else
its flags say, such as the number of steps or --feature_normalization, is its own matter: the report
shows these.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from hypertransformer.settings.flags_file import facts

CITATION = 'arXiv 2201.04182'


@dataclasses.dataclass(frozen=True)
class Published:
  """One number of the paper.

  Attributes:
    task: what it is of, in words.
    accuracy: on test classes, at the end of training, in 0..1.
    dataset: the name of the dataset.
    flags: the flags that a run of the same task and the same CNN has.
  """

  task: str
  accuracy: float
  dataset: str
  flags: Mapping[str, Any]


def _of(
  dataset: str, title: str, way: int, shot: int, channels: int, accuracy: float, trained: int = 0
) -> Published:
  """A number for a CNN of four layers of so many channels, of which `trained` are not generated."""
  layers = 'its logits layer alone generated' if trained else 'all layers generated'
  return Published(
    f'{title}, {way}-way {shot}-shot, a CNN of 4 x {channels} channels, {layers}',
    accuracy,
    dataset,
    {
      'continual_scenario': 'none',
      'cnn_model_name': 'maxpool-4-layer',
      'num_labels': way,
      'samples_transformer': way * shot,
      'unlabeled_samples_per_class': 0,
      'default_num_channels': channels,
      'number_of_trained_cnn_layers': trained,
    },
  )


ALL = (
  _of('omniglot', 'Omniglot', 20, 1, 8, 0.872),
  _of('omniglot', 'Omniglot', 20, 1, 16, 0.937),
  _of('omniglot', 'Omniglot', 20, 5, 8, 0.947),
  _of('omniglot', 'Omniglot', 20, 5, 4, 0.820),
  _of('omniglot', 'Omniglot', 20, 5, 4, 0.779, trained=4),
  _of('miniimagenet', 'miniImageNet', 5, 1, 16, 0.551),
  _of('miniimagenet', 'miniImageNet', 5, 5, 16, 0.681),
  _of('tieredimagenet', 'tieredImageNet', 5, 1, 8, 0.563),
  _of('tieredimagenet', 'tieredImageNet', 5, 5, 8, 0.739),
)


def find(values: Mapping[str, Any]) -> Published | None:
  """The number of the paper for a run with these flag values; None if there is none."""
  dataset = facts(values).test_dataset
  for each in ALL:
    if each.dataset == dataset and all(values[name] == v for name, v in each.flags.items()):
      return each
  return None
