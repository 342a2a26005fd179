"""Generates the CNN for several episodes, and measures how much its kernels change between them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from hypertransformer.data.arrays import ClassSet
from hypertransformer.data.folder import DataFolder
from hypertransformer.episodes.sampling import EpisodeSampler
from hypertransformer.errors import require
from hypertransformer.evaluation.metrics import Estimate, mean_and_ci95
from hypertransformer.learners import engine
from hypertransformer.learners.few_shot import FewShotLearner
from hypertransformer.settings import flags
from hypertransformer.settings.config import Settings

KERNEL = 'kernel'  # the end of a kernel's name

Kernels = dict[str, np.ndarray]  # [k, k, Cin, Cout] or [inputs, outputs], by the name of the layer


@dataclasses.dataclass(frozen=True)
class Generated:
  """What a model has generated.

  Attributes:
    allocation: --lw_weight_allocation, 'output' or 'spatial'.
    episodes: the kernels of each episode.
  """

  allocation: str
  episodes: list[Kernels]

  @property
  def shapes(self) -> dict[str, tuple[int, ...]]:
    """The shapes of the kernels by the names of the generated layers, in their order."""
    return {layer: kernel.shape for layer, kernel in self.episodes[0].items()}


def generate(
  checkpoint: str | os.PathLike[str], data_folder: str, dataset: str, count: int, seed: int
) -> Generated:
  """Generates the CNN for several episodes of one dataset, each of other classes or images.

  Args:
    checkpoint: the path of a checkpoint, or its folder.
    data_folder: the folder of the dataset.
    dataset: its spec, such as 'omniglot:1200-1622'; '' for the test classes of the training.
    count: how many episodes.
    seed: chooses the episodes, 0 or more. They are the same for every checkpoint that was trained
      on tasks of the same shape.

  Raises:
    InputError: the checkpoint or the dataset cannot be used, or nothing is generated.
  """
  settings = flags.settings_from(engine.find(checkpoint).values)
  data = DataFolder(data_folder, settings.data.shuffle_labels_seed, settings.data.use_labels)
  sampler = _sampler(data.open(dataset or settings.data.test_dataset), settings, seed)
  with FewShotLearner(checkpoint) as learner:
    layers = learner.generated_layers()
    require(
      bool(layers),
      f'checkpoint {learner.checkpoint} generates no layer (--number_of_trained_cnn_layers).',
    )
    episodes = [_kernels(learner, sampler, number, layers) for number in range(count)]
  return Generated(settings.model.allocation, episodes)


def _sampler(classes: ClassSet, settings: Settings, seed: int) -> EpisodeSampler:
  """Draws support sets as in training, all of them labelled, without query images."""
  episodes = dataclasses.replace(
    settings.episodes,
    query_samples=settings.model.num_labels,
    unlabeled_per_class=0,
    disjoint_query=False,
  )
  return EpisodeSampler(classes, episodes, seed, 0)


def _kernels(
  learner: FewShotLearner, sampler: EpisodeSampler, number: int, layers: Sequence[str]
) -> Kernels:
  drawn = sampler.draw(number)
  images = sampler.class_set.arrays.gather(drawn.support_rows)
  weights = learner.fit(images, drawn.support_labels).weights()
  return {
    name.partition('/')[0]: value
    for name, value in weights.items()
    if name.partition('/')[0] in layers and name.endswith(KERNEL)
  }


def changes(generated: Generated) -> dict[str, Estimate]:
  """How much the kernel of each layer changes from one episode to the next.

  That is mean |after - before| / mean |after|, over all numbers of the kernel; the estimate is over
  pairs of episodes that follow each other and have none in common.

  Args:
    generated: at least two episodes; of an odd number the last is left out.
  """
  pairs = list(zip(generated.episodes[::2], generated.episodes[1::2], strict=False))
  return {
    layer: mean_and_ci95([_change(before[layer], after[layer]) for before, after in pairs])
    for layer in generated.shapes
  }


def _change(before: np.ndarray, after: np.ndarray) -> float:
  return float(np.abs(after - before).mean() / np.abs(after).mean())
