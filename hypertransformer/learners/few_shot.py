"""The HyperTransformer as a classifier: a CNN from one support set."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from hypertransformer.errors import InputError
from hypertransformer.learners import inputs
from hypertransformer.learners.engine import Blocks
from hypertransformer.learners.learner import Learner
from hypertransformer.learners.trained import Trained


class FewShotLearner(Learner):
  """FewShotLearner(checkpoint): a trained HyperTransformer (arXiv 2201.04182) that learns new
  classes from few images.

  checkpoint: its path without .index ('logs/model-20000') or its folder, for the newest; flags.json
  is beside it. Images are [n, S, S, C], or [n, S, S] for one channel, in 0..255 (uint8, or any
  other type of number) and of the size that the model was trained on. Whatever cannot be used
  raises hypertransformer.errors.InputError.

  Batch norm uses the statistics of each call's images, as in the paper and the evaluator: what is
  predicted for an image depends on the others that are given with it. Give a batch like those of
  training (several classes, tens of images), and compare accuracies at equal batch sizes.
  """

  _learned: tuple[list[Hashable], Blocks] | None = None

  def fit(self, images: Any, labels: Any) -> FewShotLearner:
    """Learns from a support set, and forgets an earlier one. Returns itself.

    labels: one per image, of exactly K = num_labels distinct kinds: whole numbers, names, anything
    hashable. The model numbers classes 0..K-1: whole numbers by size, others as they appear, and is
    not quite the same for each order.
    """
    support = self._pixels(images, 'support images')
    found = inputs.labels(labels, len(support))
    classes = inputs.classes(found, self.num_labels)
    self._learned = classes, self._engine.learn(support, inputs.numbers(found, classes), {}).blocks
    return self

  def predict(self, images: Any) -> np.ndarray:
    """The label of each image [n], in the terms of `fit`; the images together are one query batch
    (see the class).
    """
    return self.labels()[self.scores(images).argmax(axis=1)]

  def scores(self, images: Any) -> np.ndarray:
    """float32 [n, K]: the logits of each image; columns as in `labels()`."""
    return self._engine.outputs(self._pixels(images, 'query images'), self._fitted()[1])

  def labels(self) -> np.ndarray:
    """[K]: the labels given to `fit`, in the order of the columns of `scores`."""
    return inputs.as_array(self._fitted()[0])

  def weights(self) -> dict[str, np.ndarray]:
    """The CNN's variables as it uses them, {'layer_1/conv/kernel': array, ...}."""
    return self._engine.weights(self._fitted()[1])

  def _fitted(self) -> tuple[list[Hashable], Blocks]:
    if self._learned is None:
      raise InputError('nothing is learned yet: call fit(images, labels) with a support set first.')
    return self._learned

  def _require_kind(self, found: Trained) -> None:
    if found.continual is not None:
      raise InputError(
        f'checkpoint {found.prefix} was trained with continual_scenario={found.continual.scenario}: '
        'open it by ContinualLearner.'
      )
