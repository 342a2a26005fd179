"""Which checkpoints of a training were deleted before they could be evaluated."""

from __future__ import annotations

import glob
import os
from collections.abc import Collection, Iterable

import tensorflow.compat.v1 as tf
from google.protobuf.message import DecodeError

from hypertransformer.evaluation.results import Line
from hypertransformer.runtime import checkpoints

_MOST_NAMED = 10  # steps in a text
_LARGEST_NOTE = 4096  # bytes; what the trainer notes about a checkpoint is far smaller


def text(log_dir: str, lines: Iterable[Line], seen: Collection[int] = ()) -> str:
  """Describe the checkpoints of a run that are gone and have no result; '' if there are none.

  Args:
    log_dir: The directory of the run.
    lines: Its results.
    seen: Steps of checkpoints that were seen there, besides those that the trainer has noted.
  """
  evaluated = {line['step'] for line in lines}
  there = set(checkpoints.find(log_dir))
  saved = {*seen, *_noted(log_dir), *there, *evaluated} - {0}  # 0 is the untrained model
  gone = sorted(saved - evaluated - there)
  if not gone:
    return ''
  named = ', '.join(map(str, gone[:_MOST_NAMED]))
  if len(gone) > _MOST_NAMED:
    named += f', ... {gone[-1]}'
  return (
    f'{len(gone)} of {len(saved)} checkpoints have no result: the training deleted them before '
    f'they were evaluated (steps {named}). It keeps the newest {checkpoints.KEEP}. To evaluate '
    'all, use a larger --steps_between_saves or a smaller --num_task_evals, or start the evaluator '
    'with the training.'
  )


def _noted(log_dir: str) -> set[int]:
  """Return the steps of all checkpoints that the trainer has saved, from its event files."""
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
