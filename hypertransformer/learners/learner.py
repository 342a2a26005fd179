"""What both learners have in common, and the trained models that come with the package."""

from __future__ import annotations

import json
import os
import pathlib
import threading
import warnings
from collections.abc import Hashable, Sequence
from typing import Any, TypeVar

import numpy as np

from hypertransformer.data import files
from hypertransformer.errors import InputError, require
from hypertransformer.learners import export, inputs
from hypertransformer.learners.engine import CLOSED, Engine, Trained, find
from hypertransformer.learners.export import FrozenCnn

Self = TypeVar('Self', bound='Learner')


def brightness(card: pathlib.Path) -> float | None:
  """Return the mean of a model's training images, in 0..255, from its card; None if unknown.

  Raises:
    InputError: The card is malformed.
  """
  if not card.exists():
    return None
  try:
    return float(files.read_json(card)['takes']['mean_brightness'])
  except (*files.JSON_ERRORS, TypeError, LookupError) as error:
    raise InputError(
      f'{card} is malformed: it has no number takes.mean_brightness. Correct or delete it.'
    ) from error


class NothingLearnedError(InputError, AttributeError):
  """Says that a learner has learned nothing yet; `hasattr(learner, 'classes_')` is False then."""


class Learner:
  """A classifier made from a checkpoint.

  A copy, a deep copy or an unpickled learner knows the same and has a session of its own.
  """

  def __init__(
    self,
    checkpoint: str | os.PathLike[str],
    batch_statistics: str = 'support',
    prepare: bool = False,
  ) -> None:
    """Open a checkpoint.

    Args:
      checkpoint: Its path without `.index`, such as `logs/model-20000`; or its directory, for the
        latest checkpoint in it. The file `flags.json` of the training must be beside it.
      batch_statistics: The images whose statistics batch norm uses for queries: 'support', or
        'query' as in the paper.
      prepare: Whether images of other sizes and numbers of channels are converted to those of the
        model, as the converters do. The first conversion is reported as a warning.

    Raises:
      InputError: The checkpoint cannot be read or used.
    """
    require(
      batch_statistics in ('support', 'query'),
      f'batch_statistics={batch_statistics!r} is unknown. Use support or query.',
    )
    self.batch_statistics = batch_statistics
    self.prepare = prepare
    self._given = checkpoint
    self._told = False  # whether a conversion was reported
    self._reopen(checkpoint)
    self._forget()

  def _forget(self) -> None:
    """Begin with nothing learned."""

  def _reopen(self, checkpoint: str | os.PathLike[str]) -> None:
    self._trained = find(checkpoint)
    self._require_kind(self._trained)
    self._brightness = brightness(pathlib.Path(self.checkpoint).parent / files.CARD)
    # What `fit` returns shares this list, so that closing one learner closes all.
    self._open = [Engine(self._trained, self.batch_statistics)]
    self._lock = threading.Lock()

  @classmethod
  def pretrained(cls: type[Self], name: str, **parameters: Any) -> Self:
    """Open a model that comes with the package; `pretrained_names()` lists them.

    Args:
      name: Such as 'omniglot_1shot'.
      **parameters: Further arguments of the class.

    Raises:
      InputError: There is no such model, or it is one for the other learner.
    """
    require(
      name in files.packaged(),
      f'There is no packaged model {name!r}. Use one of {", ".join(files.packaged())}, or '
      'open a checkpoint.',
    )
    return cls(str(files.PACKAGED / name), **parameters)

  def get_params(self, deep: bool = True) -> dict[str, Any]:
    """Return the arguments that made this learner, by name, as scikit-learn's estimators do."""
    del deep  # there are no estimators inside
    return {
      'checkpoint': self._given,
      'batch_statistics': self.batch_statistics,
      'prepare': self.prepare,
    }

  def set_params(self: Self, **parameters: Any) -> Self:
    """Change arguments, open the checkpoint again, and forget what was learned.

    Learners that have shared the session, such as clones, keep it.

    Raises:
      InputError: There is no such argument, or the checkpoint cannot be used. Nothing is changed.
    """
    arguments = self.get_params()
    if unknown := parameters.keys() - arguments:
      raise InputError(f'There is no parameter {", ".join(unknown)}. Use {", ".join(arguments)}.')
    if parameters:
      other = type(self)(**{**arguments, **parameters})
      vars(self).clear()
      vars(self).update(vars(other))
    return self

  def __getstate__(self) -> dict[str, Any]:
    """Return what is pickled: all but the model, which is read from its checkpoint again."""
    state = vars(self) | {'_fingerprint': self._engine.fingerprint(), '_trained': self.checkpoint}
    return {name: value for name, value in state.items() if name not in ('_open', '_lock')}

  def __setstate__(self, state: dict[str, Any]) -> None:
    """Open the checkpoint again.

    Raises:
      InputError: It cannot be read, or has changed.
    """
    fingerprint, checkpoint = state.pop('_fingerprint'), state.pop('_trained')
    vars(self).update(state)
    self._reopen(checkpoint)
    require(
      fingerprint == self._engine.fingerprint(),
      f'{checkpoint} is no longer the model of this learner. Open it and learn again.',
    )

  def _require_kind(self, found: Trained) -> None:
    """Raise InputError for a checkpoint of a model that this class cannot use."""

  @property
  def checkpoint(self) -> str:
    """The path of the checkpoint in use, without `.index`."""
    return self._trained.prefix

  @property
  def num_labels(self) -> int:
    """K, the number of classes of a task."""
    return self._trained.settings.model.num_labels

  @property
  def shots(self) -> int:
    """The labeled support images of each class in the model's training, on average if they vary.

    A task may have others; the accuracy is best with about as many, or more.
    """
    return self._trained.settings.episodes.shots

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """Height, width and channels of the images that the model takes."""
    return self._trained.image_shape

  def save(self, path: str | os.PathLike[str]) -> None:
    """Write what was learned to an .npz file, atomically; the model itself is not in it.

    Args:
      path: The file.

    Raises:
      InputError: The file cannot be written, a label is of a type that cannot be saved, or nothing
        has been learned yet.
    """
    classes, arrays = self._saved()
    for label in (label for task in classes for label in task):
      require(
        type(label) in inputs.SIMPLE,
        f'Label {label!r} cannot be saved. Learn with labels of type int, float, str or bool.',
      )
    about = json.dumps({'fingerprint': self._engine.fingerprint(), 'classes': classes})
    with files.atomic_file(files.expanded(path)) as file:
      np.savez(file, allow_pickle=False, about=np.array(about), **arrays)

  def _saved(self) -> tuple[Sequence[Sequence[Hashable]], dict[str, np.ndarray]]:
    """Return the labels of each task, and the arrays to save by name."""
    raise NotImplementedError

  def _load(
    self, path: str | os.PathLike[str]
  ) -> tuple[tuple[list[Hashable], ...], dict[str, np.ndarray]]:
    """Read the classes and the arrays that a learner of the same checkpoint has saved.

    Raises:
      InputError: The file cannot be used.
    """
    path = files.expanded(path)
    try:
      with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
      about = json.loads(str(arrays.pop('about')))
      fingerprint, classes = about['fingerprint'], tuple(map(list, about['classes']))
    except Exception as error:  # NumPy, zipfile, zlib and json raise a dozen types
      reason = str(error).partition('\n')[0] or type(error).__name__
      raise InputError(
        f'{path} cannot be read: {reason}. Pass a file that save() of a learner has written.'
      ) from error
    require(
      fingerprint == self._engine.fingerprint(),
      f'{path} was saved by a learner of another checkpoint. Open that checkpoint, or learn again.',
    )
    return classes, arrays

  def _export(
    self, cnn: FrozenCnn, path: str | os.PathLike[str], int8: bool = False
  ) -> pathlib.Path:
    """Write a CNN to a file; see `export.write`."""
    require(
      self.batch_statistics == 'support',
      'A CNN whose batch norm uses the statistics of queries cannot be exported. Use '
      "batch_statistics='support'.",
    )
    return export.write(cnn, path, int8)

  def close(self) -> None:
    """Close the session and release the graph; closing it again has no effect.

    A `with` does so at its end.
    """
    while self._open:  # a closed learner that is kept keeps no graph
      self._open.pop().close()

  def __enter__(self: Self) -> Self:
    """Return the learner."""
    return self

  def __exit__(self, *error: object) -> None:
    """Close the learner."""
    self.close()

  @property
  def _engine(self) -> Engine:
    """The open model; raises InputError if the learner is closed."""
    for engine in self._open:
      return engine
    raise InputError(CLOSED)

  def _support(self, images: Any) -> np.ndarray:
    """Return the images of a support set as the model takes them; see inputs.pixels."""
    return self._pixels(images, 'support images', may_be_black=False)

  def _queries(self, images: Any) -> np.ndarray:
    """Return the images to predict as the model takes them; see inputs.pixels."""
    return self._pixels(images, 'query images', may_be_black=True)

  def _pixels(self, images: Any, name: str, may_be_black: bool) -> np.ndarray:
    given, conversion = inputs.opened(images, self.image_shape, name, self.prepare)
    if conversion and not self._told:
      warnings.warn(conversion, stacklevel=4)
      self._told = True
    found = inputs.pixels(given, self.image_shape, name, may_be_black)
    if self._brightness is not None:
      inputs.warn_if_inverted(found, name, self._brightness)
    return found
