"""The HyperTransformer as a classifier: it generates a CNN from one support set."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from hypertransformer.errors import InputError
from hypertransformer.learners import inputs
from hypertransformer.learners.engine import Blocks, Trained
from hypertransformer.learners.learner import Learner


class FewShotLearner(Learner):
  """A trained HyperTransformer (arXiv 2201.04182), which learns new classes from few images.

  Images are arrays [n, height, width, channels], or [n, height, width] if there is one channel.
  Pixels are in 0..255, as uint8 or as any other type of number, and images have the size that the
  model was trained on (`image_shape`). Whatever cannot be used raises
  `hypertransformer.errors.InputError`.

  Batch norm uses the statistics of the images of each call, as in the paper and in the evaluator.
  So what is predicted for an image depends on the others that are given with it. A batch that is
  no larger than the support set is therefore classified together with the support images, so that a
  single image can be predicted as well; `bare=True` restores the batch by itself. Compare
  accuracies at equal batch sizes.
  """

  _learned: tuple[list[Hashable], Blocks, np.ndarray] | None = None

  def fit(self, images: Any, labels: Any) -> FewShotLearner:
    """Learns from a support set, and forgets an earlier one.

    The model numbers the classes from 0 to K - 1: whole numbers in the order of their size, other
    labels in the order in which they appear. In another order its results differ a little.

    Args:
      images: the support images.
      labels: a label for each image: whole numbers, names, or anything else that is hashable. There
        must be 2 to K = `num_labels` different ones. With fewer than K the model's other classes
        are never predicted.

    Returns:
      The learner itself.

    Raises:
      InputError: images or labels cannot be used. The learner then keeps what it had learned.
    """
    support = self._support(images)
    found = inputs.labels(labels, len(support))
    classes = inputs.classes(found, self.num_labels, fewer=True)
    learned = self._engine.learn(support, inputs.numbers(found, classes), {})
    self._learned = classes, learned.blocks, support
    return self

  def predict(self, images: Any, bare: bool = False) -> np.ndarray:
    """Predicts the label of each image.

    The images together are one query batch; see the class for what this means.

    Args:
      images: the query images.
      bare: takes no support images into a small batch; see the class.

    Returns:
      Labels as they were given to `fit`, [n].

    Raises:
      InputError: the images cannot be used, or nothing is learned yet.
    """
    return self.labels()[self.scores(images, bare).argmax(axis=1)]

  def scores(self, images: Any, bare: bool = False) -> np.ndarray:
    """Computes the logits of each image, as one query batch.

    Args:
      images: the query images.
      bare: takes no support images into a small batch; see the class.

    Returns:
      Logits, float32 [n, classes], with the columns in the order of `labels()`.

    Raises:
      InputError: the images cannot be used, or nothing is learned yet.
    """
    classes, blocks, support = self._fitted()
    queries = batch = self._queries(images)
    if not bare and len(queries) <= len(support):
      batch = np.concatenate([support, queries])
    return self._engine.outputs(batch, blocks)[-len(queries) :, : len(classes)]

  def labels(self) -> np.ndarray:
    """The different labels that were given to `fit`, in the order of the columns of `scores`.

    Raises:
      InputError: nothing is learned yet.
    """
    return inputs.as_array(self._fitted()[0])

  def weights(self) -> dict[str, np.ndarray]:
    """The variables of the CNN as it uses them, generated or trained.

    Returns:
      Arrays by name, such as 'layer_1/conv/kernel'.

    Raises:
      InputError: nothing is learned yet.
    """
    return self._engine.weights(self._fitted()[1])

  def generated_layers(self) -> list[str]:
    """Names of the layers whose weights are generated, such as 'layer_1', in their order."""
    return self._engine.generated_layers

  def _fitted(self) -> tuple[list[Hashable], Blocks, np.ndarray]:
    """The classes in the model's order, the weight blocks, and the support images, as pixels.

    Raises InputError before `fit`.
    """
    if self._learned is None:
      raise InputError('nothing is learned yet: call fit(images, labels) with a support set first.')
    return self._learned

  def _require_kind(self, found: Trained) -> None:
    if found.continual is not None:
      raise InputError(
        f'checkpoint {found.prefix} was trained with '
        f'continual_scenario={found.continual.scenario}: open it by ContinualLearner.'
      )
