"""What both learners have in common, and the trained models that come with the package."""

from __future__ import annotations

import os
import pathlib
from typing import Any, TypeVar

import numpy as np

from hypertransformer.errors import InputError, require
from hypertransformer.learners import inputs
from hypertransformer.learners.engine import CLOSED, Engine, Trained, find

# hypertransformer/pretrained/NAME/ holds a checkpoint, the flags.json of its training, and a
# card.json: the command, the number of steps, the accuracy with its interval, the data and its
# license.
FOLDER = pathlib.Path(__file__).resolve().parents[1] / 'pretrained'
CARD = 'card.json'

Self = TypeVar('Self', bound='Learner')


def pretrained_names() -> list[str]:
  """Return the names of the models that come with the package, sorted."""
  return sorted(path.parent.name for path in FOLDER.glob(f'*/{CARD}'))


def pretrained_folder(name: str) -> pathlib.Path:
  """Return the directory of a model that comes with the package.

  Raises:
    InputError: There is no model of this name.
  """
  names = pretrained_names()
  require(
    name in names,
    f'There is no pretrained model {name!r}. Use one of {", ".join(names)}, or open a checkpoint.',
  )
  return FOLDER / name


class Learner:
  """A classifier made from a checkpoint."""

  def __init__(self, checkpoint: str | os.PathLike[str]) -> None:
    """Open a checkpoint.

    Args:
      checkpoint: Its path without `.index`, such as `logs/model-20000`; or its directory, for the
        latest checkpoint in it. The file `flags.json` of the training must be beside it.

    Raises:
      InputError: The checkpoint cannot be read or used.
    """
    self._trained = find(checkpoint)
    self._require_kind(self._trained)
    self._open: Engine | None = Engine(self._trained)

  @classmethod
  def pretrained(cls: type[Self], name: str) -> Self:
    """Open a model that comes with the package; `pretrained_names()` lists them.

    Args:
      name: Such as 'omniglot_1shot'.

    Raises:
      InputError: There is no such model, or it is one for the other learner.
    """
    return cls(pretrained_folder(name))

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

  def close(self) -> None:
    """Close the session and release the graph; closing it again has no effect.

    A `with` does so at its end.
    """
    engine, self._open = self._open, None  # a closed learner that is kept keeps no graph
    if engine is not None:
      engine.close()

  def __enter__(self: Self) -> Self:
    """Return the learner."""
    return self

  def __exit__(self, *error: object) -> None:
    """Close the learner."""
    self.close()

  @property
  def _engine(self) -> Engine:
    """The open model; raises InputError if the learner is closed."""
    engine = self._open
    if engine is None:
      raise InputError(CLOSED)
    return engine

  def _support(self, images: Any) -> np.ndarray:
    """Return the images of a support set as the model takes them; see inputs.pixels."""
    return inputs.pixels(images, self.image_shape, 'support images', may_be_black=False)

  def _queries(self, images: Any) -> np.ndarray:
    """Return the images to predict as the model takes them; see inputs.pixels."""
    return inputs.pixels(images, self.image_shape, 'query images', may_be_black=True)
