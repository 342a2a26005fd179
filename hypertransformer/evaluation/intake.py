"""Takes in one checkpoint of a run: copies it, checks it, and restores it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterator

import tensorflow.compat.v1 as tf

from hypertransformer.errors import InputError
from hypertransformer.evaluation import snapshots
from hypertransformer.evaluation.evaluator import Evaluator
from hypertransformer.evaluation.refusals import Gone, NotNow, Refused
from hypertransformer.runtime import checkpoints
from hypertransformer.settings import flags, flags_file

AGAIN = '; it is tried again'  # what a NotNow ends with


@dataclasses.dataclass(frozen=True)
class Checkpoint:
  """A checkpoint that is restored, to be evaluated.

  Attributes:
    prefix: its path, without ending.
    copy: the path of the copy that was restored, without ending.
    step: how many updates it has seen.
    digest: the SHA-256 of its index.
    modified: when its index was written, in seconds since 1970.
  """

  prefix: str
  copy: str
  step: int
  digest: str
  modified: float


class Intake:
  """Takes in the checkpoints that fit the model of some flags."""

  def __init__(self, folder: pathlib.Path, values: flags.Values) -> None:
    """Keeps the settings.

    Args:
      folder: where copies of checkpoints are made, in temporary folders.
      values: the value of every flag by its name.
    """
    self._folder = folder
    self._values = values

  @contextlib.contextmanager
  def take(self, prefix: str, evaluator: Evaluator) -> Iterator[Checkpoint]:
    """Restores a checkpoint from a copy, which is kept for the time of a `with`.

    Args:
      prefix: the path of the checkpoint, without ending.
      evaluator: restores it.

    Raises:
      Gone, NotNow, Refused: it cannot be evaluated.
    """
    with contextlib.ExitStack() as stack:
      try:
        copy = stack.enter_context(snapshots.snapshot(prefix, self._folder))
        self._refuse(prefix, copy, evaluator)
        found = Checkpoint(
          prefix,
          copy,
          checkpoints.global_step(copy),
          snapshots.digest(copy),
          os.path.getmtime(f'{copy}.index'),
        )
        evaluator.restore(copy)
      except FileNotFoundError as error:
        raise self._missing(prefix, error) from error
      except OSError as error:
        raise NotNow(f'it cannot be copied to {self._folder} ({error}){AGAIN}') from error
      except tf.errors.OpError as error:
        self._require_copy(copy)
        why = str(error).splitlines()[0]
        raise Refused('model', f'it cannot be restored into the model ({why})') from error
      yield found

  def _refuse(self, prefix: str, copy: str, evaluator: Evaluator) -> None:
    """Raises Refused if this copy of a checkpoint cannot be evaluated."""
    why = checkpoints.unreadable(copy)
    if why:
      self._require_copy(copy)
      raise Refused('unreadable', f'it cannot be read, half-written or damaged ({why})')
    try:
      checkpoints.global_step(copy)
    except InputError as error:
      raise Refused('unreadable', str(error)) from error
    try:
      why = flags_file.why_not_evaluated(os.path.dirname(prefix), self._values)
    except InputError as error:
      raise Refused('version', str(error)) from error
    if why:
      raise Refused('flags', why)
    mismatch = checkpoints.compare(copy, evaluator.variables)
    if mismatch:
      raise Refused('model', f'it is of another model than these flags make: {mismatch}')

  def _missing(self, prefix: str, error: FileNotFoundError) -> Exception:
    """What it means that a file of a checkpoint, or of the copy of it, was not there."""
    try:
      snapshots.files(prefix)
    except FileNotFoundError:
      if os.path.exists(f'{prefix}.index'):
        return Refused('unreadable', f'it is not complete ({error})')
      return Gone(f'it is not there, or was deleted meanwhile ({error})')
    return NotNow(self._deleted())

  def _require_copy(self, copy: str) -> None:
    """Raises NotNow if somebody has deleted files of a copy."""
    try:
      snapshots.files(copy)
    except FileNotFoundError as error:
      raise NotNow(self._deleted()) from error

  def _deleted(self) -> str:
    return f'its copy in {self._folder} was deleted{AGAIN}'
