"""The HyperTransformer as a classifier: it generates a CNN from one support set."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from hypertransformer.errors import require
from hypertransformer.learners import inputs
from hypertransformer.learners.engine import BlockArrays, Trained
from hypertransformer.learners.learner import Learner, NothingLearnedError


@dataclasses.dataclass(frozen=True)
class Fitted:
  """The state after `fit`, which never changes.

  Attributes:
    classes: The different labels, in the model's order.
    blocks: The weight blocks of the CNN.
    statistics: The batch-norm statistics of the support set, [convolutions, 2, channels].
    support: The support images, uint8 [n, S, S, C].
  """

  classes: list[Hashable]
  blocks: BlockArrays
  statistics: np.ndarray
  support: np.ndarray


class FewShotLearner(Learner):
  """A trained HyperTransformer (arXiv 2201.04182), which learns new classes from few images.

  Images are arrays [n, height, width, channels], or [n, height, width] if there is one channel.
  Pixels are in 0..255, of any integer or float type, and images have the size that the model was
  trained on (`image_shape`). Invalid input raises `hypertransformer.InputError`.

  The prediction for an image does not depend on the other images of the call, because batch norm
  uses the statistics of the support set, frozen by `fit`. With `batch_statistics='query'` it uses
  those of each call, as in the paper and by default in the evaluator: then predict many images of
  all classes together, and compare accuracies at equal batch sizes only.
  """

  _fitted: Fitted | None = None

  def fit(self, images: Any, labels: Any) -> FewShotLearner:
    """Learn from a support set, and forget an earlier one.

    All classes count equally, even if one has more images than another (docs/learners.md).

    The model numbers the classes from 0 to K - 1: whole numbers in ascending order, other labels in
    the order in which they appear. In another order its results differ a little.

    Args:
      images: The support images.
      labels: A label for each image: whole numbers, names, or anything else that is hashable. There
        must be 2 to K = `num_labels` different ones. With fewer than K the model's other classes
        are never predicted.

    Returns:
      A learner of these classes, which no later `fit` changes. It shares the session: threads can
      each call `fit` of one learner and use what it returns, and closing one closes all. The
      learner itself has learned the same, until its next `fit`.

    Raises:
      InputError: Images or labels cannot be used. The learner then keeps what it had learned.
    """
    support = self._support(images)
    found = inputs.labels(labels, len(support))
    classes = inputs.classes(found, self.num_labels, fewest=2)
    learned = self._engine.learn(support, inputs.numbers(found, classes), {})
    kept = np.rint(support).astype(np.uint8)
    self._fitted = fitted = Fitted(classes, learned.blocks, learned.statistics, kept)
    return self._twin(fitted)

  def _twin(self, fitted: Fitted | None) -> FewShotLearner:
    """Return a learner that has learned this and shares the session."""
    result: FewShotLearner = object.__new__(type(self))
    vars(result).update(vars(self), _fitted=fitted)
    return result

  def predict(self, images: Any) -> np.ndarray:
    """Predict the label of each image.

    Args:
      images: The query images.

    Returns:
      Labels as they were passed to `fit`, [n].

    Raises:
      InputError: The images cannot be used, or nothing has been learned yet.
    """
    fitted = self._state()
    return inputs.as_array(fitted.classes)[self._scores(fitted, images).argmax(axis=1)]

  def scores(self, images: Any) -> np.ndarray:
    """Compute the logits of each image.

    Args:
      images: The query images.

    Returns:
      Logits, float32 [n, classes], with the columns in the order of `labels()`.

    Raises:
      InputError: The images cannot be used, or nothing has been learned yet.
    """
    return self._scores(self._state(), images)

  def decision_function(self, images: Any) -> np.ndarray:
    """Compute what scikit-learn calls so: `scores` with the columns in the order of `classes_`.

    Of two classes it is one value per image, float32 [n]: the second score minus the first.
    """
    scores = self._sorted_scores(images)
    return scores if scores.shape[1] > 2 else scores[:, 1] - scores[:, 0]

  def predict_proba(self, images: Any) -> np.ndarray:
    """Compute the probability of each class for each image: the softmax of `scores`.

    Args:
      images: The query images.

    Returns:
      Probabilities, float32 [n, classes], with the columns in the order of `classes_`.

    Raises:
      InputError: The images cannot be used, or nothing has been learned yet.
    """
    scores = self._sorted_scores(images)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)

  def score(self, images: Any, labels: Any) -> float:
    """Return the accuracy, in 0..1, of `predict` on labeled images.

    Args:
      images: The query images.
      labels: A label for each.

    Raises:
      InputError: Images or labels cannot be used, or nothing has been learned yet.
    """
    found = self.predict(images).tolist()
    given = inputs.labels(labels, len(found))
    return float(np.mean([one == other for one, other in zip(found, given, strict=True)]))

  @property
  def classes_(self) -> np.ndarray:
    """The labels that can be predicted, sorted; as in `labels()` if they cannot be compared."""
    classes = self._state().classes
    return inputs.as_array([classes[number] for number in _sorted(classes)])

  def export(self, path: str | os.PathLike[str], int8: bool = False) -> pathlib.Path:
    """Write the CNN to a file that needs neither this package nor the transformer.

    Args:
      path: The file. The ending tells the format: .keras, .tflite, .onnx, .npz, or none for a
        SavedModel directory; see docs/export.md.
      int8: Whether weights and activations of a .tflite file have 8 bits.

    Returns:
      The path.

    Raises:
      InputError: The path cannot be used, a package is missing, nothing has been learned yet, or
        the learner uses the statistics of queries.
    """
    fitted = self._state()
    cnn = self._engine.frozen(fitted.blocks, fitted.statistics[None], self.labels(), fitted.support)
    return self._export(cnn, path, int8)

  def _saved(self) -> tuple[Sequence[Sequence[Hashable]], dict[str, np.ndarray]]:
    fitted = self._state()
    arrays = {'statistics': fitted.statistics, 'support': fitted.support, **fitted.blocks}
    return [fitted.classes], arrays

  def load(self, path: str | os.PathLike[str]) -> FewShotLearner:
    """Read what a learner of the same checkpoint has saved, in place of `fit`.

    Args:
      path: A file that `save` has written.

    Returns:
      As `fit`.

    Raises:
      InputError: The file cannot be used. The learner then keeps what it had learned.
    """
    (classes, *others), blocks = self._load(path)
    require(
      2 <= len(classes) <= self.num_labels
      and not others
      and {'statistics', 'support'} <= blocks.keys(),
      f'{path} is malformed. Pass a file that save() of a learner has written.',
    )
    statistics, support = blocks.pop('statistics'), blocks.pop('support')
    self._fitted = fitted = Fitted(classes, blocks, statistics, support)
    return self._twin(fitted)

  def __sklearn_is_fitted__(self) -> bool:
    """Tell scikit-learn whether `fit` was called."""
    return self._fitted is not None

  def __sklearn_clone__(self) -> FewShotLearner:
    """Return a learner that has learned nothing, for scikit-learn; it shares the session."""
    return self._twin(None)

  def __sklearn_tags__(self) -> Any:
    """Tell scikit-learn that this is a classifier of images."""
    from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags

    return Tags(
      estimator_type='classifier',
      target_tags=TargetTags(required=True),
      classifier_tags=ClassifierTags(),
      input_tags=InputTags(two_d_array=False, three_d_array=True),
    )

  def labels(self) -> np.ndarray:
    """Return the different labels that were passed to `fit`, in the order of `scores`' columns.

    Raises:
      InputError: Nothing has been learned yet.
    """
    return inputs.as_array(self._state().classes)

  def weights(self) -> dict[str, np.ndarray]:
    """Return the variables of the CNN, generated or trained, and its batch-norm statistics.

    Returns:
      Arrays by name, such as 'layer_1/conv/kernel'. 'layer_1/batch_norm/mean' and '.../variance'
      are those of the support set, which are used unless `batch_statistics` is 'query'.

    Raises:
      InputError: Nothing has been learned yet.
    """
    fitted, engine = self._state(), self._engine
    return engine.weights(fitted.blocks) | engine.named(fitted.statistics)

  def generated_layers(self) -> list[str]:
    """Return the names of the layers whose weights are generated, such as 'layer_1', in order."""
    return self._engine.generated_layers

  def attention(self, images: Any, labels: Any) -> dict[str, list[np.ndarray]]:
    """Return what the generators attend to in a support set. What was learned is kept.

    Args:
      images: As for `fit`, one image or more of each class.
      labels: As for `fit`.

    Returns:
      By the name of the generated layer, for each block of its transformer, the attention of each
      weight token to each image, float32 [heads, tokens, n].

    Raises:
      InputError: Images or labels cannot be used.
    """
    support = self._support(images)
    found = inputs.labels(labels, len(support))
    classes = inputs.classes(found, self.num_labels, fewest=2)
    return self._engine.attention(support, inputs.numbers(found, classes))

  def _state(self) -> Fitted:
    """Return what was learned; raise InputError before `fit`."""
    fitted = self._fitted
    if fitted is None:
      raise NothingLearnedError('Nothing has been learned yet. Call fit(images, labels) first.')
    return fitted

  def _sorted_scores(self, images: Any) -> np.ndarray:
    """Return `scores` with the columns in the order of `classes_`."""
    fitted = self._state()
    return self._scores(fitted, images)[:, _sorted(fitted.classes)]

  def _scores(self, fitted: Fitted, images: Any) -> np.ndarray:
    outputs = self._engine.outputs(self._queries(images), fitted.blocks, fitted.statistics[None])
    return outputs[:, : len(fitted.classes)]

  def _require_kind(self, found: Trained) -> None:
    continual = found.settings.continual
    require(
      continual is None,
      f'Checkpoint {found.prefix} was trained with continual_scenario='
      f'{continual and continual.scenario}. Open it with ContinualLearner.',
    )


def _sorted(classes: Sequence[Any]) -> list[int]:
  """Return the model's numbers of the classes in the order of their labels, if they have one."""
  try:
    return sorted(range(len(classes)), key=classes.__getitem__)
  except TypeError:
    return list(range(len(classes)))
