"""What both learners have in common."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any, TypeVar

import numpy as np

from hypertransformer.learners import inputs, trained
from hypertransformer.learners.engine import Engine
from hypertransformer.learners.trained import Trained

Self = TypeVar('Self', bound='Learner')


class Learner:
  """A checkpoint that is opened, and closed again."""

  def __init__(self, checkpoint: str | os.PathLike[str]) -> None:
    found = trained.find(checkpoint)
    self._require_kind(found)
    self._trained = found
    self._engine = Engine(found)

  def _require_kind(self, found: Trained) -> None:
    """Raises InputError for a checkpoint that this class cannot use."""

  @property
  def checkpoint(self) -> str:
    """The path of the checkpoint in use, without .index."""
    return self._trained.prefix

  @property
  def num_labels(self) -> int:
    """K: classes of a task."""
    return self._trained.model.num_labels

  @property
  def image_shape(self) -> tuple[int, int, int]:
    """(height, width, channels) of the images that it takes."""
    return self._trained.image_shape

  def close(self) -> None:
    """Frees what it holds; a `with` does so at its end."""
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

  def _pixels(self, images: Any, name: str) -> np.ndarray:
    return inputs.pixels(images, self.image_shape, name)
