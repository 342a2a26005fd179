"""Which checkpoints of a training were deleted before they could be evaluated."""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Collection, Iterable

import tensorflow.compat.v1 as tf
from google.protobuf.message import DecodeError

from hypertransformer.evaluation.results import Line
from hypertransformer.runtime import checkpoints

_MOST_NAMED = 10  # so many steps are named in a text
_LARGEST_NOTE = 4096  # bytes; what the trainer notes about a checkpoint is far smaller


@dataclasses.dataclass(frozen=True)
class Missed:
  """The checkpoints of a run that are gone and have no result.

  Attributes:
    steps: their steps, the smallest first.
    saved: how many checkpoints the training has saved in all, as far as is known.
  """

  steps: list[int]
  saved: int

  def __str__(self) -> str:
    """A text for a person: how many, which steps, and what to do about it; '' if there are none."""
    if not self.steps:
      return ''
    named = ', '.join(map(str, self.steps[:_MOST_NAMED]))
    if len(self.steps) > _MOST_NAMED:
      named += f', ... {self.steps[-1]}'
    return (
      f'{len(self.steps)} of {self.saved} checkpoints have no result: the training deleted them '
      f'before they were evaluated (steps {named}). It keeps the newest {checkpoints.KEEP}. To '
      'have all evaluated: save less often (a larger --steps_between_saves), evaluate faster (a '
      'smaller --num_task_evals), or start the evaluator with the training.'
    )


def find(log_dir: str, lines: Iterable[Line], seen: Collection[int] = ()) -> Missed:
  """Finds the checkpoints of a run that are gone and have no result.

  Args:
    log_dir: the folder of the run.
    lines: its results.
    seen: steps of checkpoints that were seen there, besides those that the trainer has noted.
  """
  evaluated = {line['step'] for line in lines}
  there = set(checkpoints.find(log_dir))
  saved = {*seen, *_noted(log_dir), *there} - {0}  # nobody misses the untrained model
  return Missed(sorted(saved - evaluated - there), len(saved | evaluated))


def _noted(log_dir: str) -> set[int]:
  """The steps of all checkpoints that the trainer has saved, as its event files say."""
  steps = set()
  for path in glob.glob(os.path.join(glob.escape(log_dir), 'events.out.tfevents.*')):
    try:
      for record in tf.io.tf_record_iterator(path):
        if len(record) < _LARGEST_NOTE:
          event = tf.Event.FromString(record)
          if event.session_log.status == tf.SessionLog.CHECKPOINT:
            steps.add(event.step)
    except (tf.errors.OpError, DecodeError):
      continue  # cut off or damaged: what was read until there counts
  return steps
