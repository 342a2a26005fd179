"""What both learners have in common: a checkpoint that is opened, and closed again."""

from __future__ import annotations

import os
import pathlib
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from hypertransformer.errors import InputError
from hypertransformer.learners import inputs
from hypertransformer.learners.engine import Engine, Trained, find
from hypertransformer.settings.flags_file import facts

FOLDER = pathlib.Path(__file__).resolve().parents[1] / 'pretrained'
CARD = 'card.json'


def pretrained_names() -> list[str]:
  """Names of the models that come with the package, sorted."""
  return sorted(path.parent.name for path in FOLDER.glob(f'*/{CARD}'))


def pretrained_folder(name: str) -> pathlib.Path:
  """The folder of a model that comes with the package.

  Raises:
    InputError: There is no model of this name.
  """
  names = pretrained_names()
  if name not in names:
    raise InputError(
      f'there is no pretrained model {name!r}; there are: {", ".join(names) or "none"}. For one of '
      'your own give the path of its checkpoint.'
    )
  return FOLDER / name


Self = TypeVar('Self', bound='Learner')


class Learner:
  """A classifier made from a checkpoint."""

  def __init__(self, checkpoint: str | os.PathLike[str]) -> None:
    """Opens a checkpoint.

    Args:
      checkpoint: its path without `.index`, such as `logs/model-20000`; or its folder, for the
        newest checkpoint in it. The file `flags.json` of the training must be beside it.

    Raises:
      InputError: the checkpoint cannot be read or used.
    """
    found = find(checkpoint)
    self._require_kind(found)
    self._trained = found
    self._engine = Engine(found)

  @classmethod
  def pretrained(cls: type[Self], name: str) -> Self:
    """Opens a model that comes with the package; `pretrained_names()` lists them.

    Args:
      name: such as 'omniglot_1shot'.

    Raises:
      InputError: there is no such model, or it is one for the other learner.
    """
    return cls(pretrained_folder(name))

  def _require_kind(self, found: Trained) -> None:
    """Raises InputError for a checkpoint of a model that this class cannot use."""

  @property
  def checkpoint(self) -> str:
    """The path of the checkpoint in use, without `.index`."""
    return self._trained.prefix

  @property
  def num_labels(self) -> int:
    """K, the number of classes of a task."""
    return self._trained.model.num_labels

  @property
  def shots(self) -> int:
    """The labelled support images of each class in the model's training, on average if they vary.

    A task may have others; the accuracy is best with about as many, or more.
    """
    return facts(self._trained.values).shots

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """Height, width and channels of the images that the model takes."""
    return self._trained.image_shape

  def close(self) -> None:
    """Frees what the learner holds. A `with` does so at its end."""
    self._engine.close()

  def __enter__(self: Self) -> Self:
    return self

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    traceback: TracebackType | None,
  ) -> None:
    self.close()

  def _support(self, images: Any) -> np.ndarray:
    """The images of a support set as the model takes them; see inputs.pixels."""
    return inputs.pixels(images, self.image_shape, 'support images', may_be_black=False)

  def _queries(self, images: Any) -> np.ndarray:
    """The images to be predicted as the model takes them; see inputs.pixels."""
    return inputs.pixels(images, self.image_shape, 'query images', may_be_black=True)
