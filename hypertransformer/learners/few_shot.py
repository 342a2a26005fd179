"""The HyperTransformer as a classifier: it generates a CNN from one support set."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from typing import Any

import numpy as np

from hypertransformer.errors import InputError, require
from hypertransformer.learners import inputs
from hypertransformer.learners.engine import BlockArrays, Trained
from hypertransformer.learners.learner import Learner


@dataclasses.dataclass(frozen=True)
class Fitted:
  """The state after `fit`, which never changes.

  Attributes:
    classes: The different labels, in the model's order.
    blocks: The weight blocks of the CNN.
    support: The support images, float32 [n, S, S, C], in 0..255.
  """

  classes: list[Hashable]
  blocks: BlockArrays
  support: np.ndarray


class FewShotLearner(Learner):
  """A trained HyperTransformer (arXiv 2201.04182), which learns new classes from few images.

  Images are arrays [n, height, width, channels], or [n, height, width] if there is one channel.
  Pixels are in 0..255, of any integer or float type, and images have the size that the model was
  trained on (`image_shape`). Invalid input raises `hypertransformer.InputError`.

  Batch norm uses the statistics of the images of each call, as in the paper and in the evaluator.
  So the prediction for an image depends on the others that are passed with it. A batch that is no
  larger than the support set is therefore classified together with the support images, so that a
  single image can be predicted as well; `bare=True` classifies the batch by itself. Compare
  accuracies at equal batch sizes.
  """

  _fitted: Fitted | None = None

  def fit(self, images: Any, labels: Any) -> FewShotLearner:
    """Learn from a support set, and forget an earlier one.

    The model numbers the classes from 0 to K - 1: whole numbers in ascending order, other labels in
    the order in which they appear. In another order its results differ a little.

    Args:
      images: The support images.
      labels: A label for each image: whole numbers, names, or anything else that is hashable. There
        must be 2 to K = `num_labels` different ones. With fewer than K the model's other classes
        are never predicted.

    Returns:
      The learner itself.

    Raises:
      InputError: Images or labels cannot be used. The learner then keeps what it had learned.
    """
    support = self._support(images)
    found = inputs.labels(labels, len(support))
    classes = inputs.classes(found, self.num_labels, fewest=2)
    blocks, _ = self._engine.learn(support, inputs.numbers(found, classes), {})
    self._fitted = Fitted(classes, blocks, support)
    return self

  def predict(self, images: Any, bare: bool = False) -> np.ndarray:
    """Predict the label of each image.

    The images together are one query batch; see the class for what this means.

    Args:
      images: The query images.
      bare: Whether a small batch is classified without the support images; see the class.

    Returns:
      Labels as they were passed to `fit`, [n].

    Raises:
      InputError: The images cannot be used, or nothing has been learned yet.
    """
    fitted = self._state()
    return inputs.as_array(fitted.classes)[self._scores(fitted, images, bare).argmax(axis=1)]

  def scores(self, images: Any, bare: bool = False) -> np.ndarray:
    """Compute the logits of each image, as one query batch.

    Args:
      images: The query images.
      bare: Whether a small batch is classified without the support images; see the class.

    Returns:
      Logits, float32 [n, classes], with the columns in the order of `labels()`.

    Raises:
      InputError: The images cannot be used, or nothing has been learned yet.
    """
    return self._scores(self._state(), images, bare)

  def labels(self) -> np.ndarray:
    """Return the different labels that were passed to `fit`, in the order of `scores`' columns.

    Raises:
      InputError: Nothing has been learned yet.
    """
    return inputs.as_array(self._state().classes)

  def weights(self) -> dict[str, np.ndarray]:
    """Return the variables of the CNN as it uses them, generated or trained.

    Returns:
      Arrays by name, such as 'layer_1/conv/kernel'.

    Raises:
      InputError: Nothing has been learned yet.
    """
    return self._engine.weights(self._state().blocks)

  def generated_layers(self) -> list[str]:
    """Return the names of the layers whose weights are generated, such as 'layer_1', in order."""
    return self._engine.generated_layers

  def _state(self) -> Fitted:
    """Return what was learned; raise InputError before `fit`."""
    if self._fitted is None:
      raise InputError('Nothing has been learned yet. Call fit(images, labels) first.')
    return self._fitted

  def _scores(self, fitted: Fitted, images: Any, bare: bool) -> np.ndarray:
    queries = batch = self._queries(images)
    if not bare and len(queries) <= len(fitted.support):
      batch = np.concatenate([fitted.support, queries])
    outputs = self._engine.outputs(batch, fitted.blocks)
    return outputs[-len(queries) :, : len(fitted.classes)]

  def _require_kind(self, found: Trained) -> None:
    continual = found.settings.continual
    require(
      continual is None,
      f'Checkpoint {found.prefix} was trained with continual_scenario='
      f'{continual and continual.scenario}. Open it with ContinualLearner.',
    )
