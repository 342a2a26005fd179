"""The evaluator that runs beside a training.

It waits for checkpoints and evaluates each new one on every preset.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import time
from collections.abc import Iterator

import tensorflow.compat.v1 as tf
from absl import logging

from hypertransformer import progress
from hypertransformer.errors import InputError
from hypertransformer.evaluation import sequence_table, snapshots
from hypertransformer.evaluation.evaluator import Evaluator
from hypertransformer.evaluation.presets import Preset
from hypertransformer.evaluation.results import Result, ResultFile
from hypertransformer.runtime import checkpoints, run_pages
from hypertransformer.settings import flags_file
from hypertransformer.settings.config import Settings

VALIDATION = 'val'  # the preset that chooses the best checkpoint


@dataclasses.dataclass(frozen=True)
class Places:
  """The places where the evaluator reads and writes.

  Attributes:
    log_dir: the folder of the training (--train_log_dir), which holds its checkpoints.
  """

  log_dir: str

  @property
  def eval_dir(self) -> pathlib.Path:
    """The folder of results, tables and TensorBoard events."""
    return pathlib.Path(self.log_dir) / 'eval'

  @property
  def best_dir(self) -> pathlib.Path:
    """The folder of the best checkpoint."""
    return pathlib.Path(self.log_dir) / 'best'

  @property
  def table(self) -> pathlib.Path:
    """The CSV file of the results on sequences of tasks."""
    return self.eval_dir / 'continual.csv'


class Daemon:
  """Evaluates the checkpoints of one run.

  A checkpoint that was deleted, cannot be read, or belongs to another model is left out; a warning
  names it and says why.
  """

  def __init__(self, evaluator: Evaluator, presets: list[Preset], settings: Settings) -> None:
    """Makes the folder of results and opens the files in it.

    Args:
      evaluator: the evaluator, whose graph is built already.
      presets: what each checkpoint is evaluated on; the evaluator must know them all.
      settings: those of the run.

    Raises:
      InputError: the folder cannot be made, or TensorFlow cannot read from its path.
    """
    self._evaluator = evaluator
    self._presets = presets
    self._config = config = settings.evaluation
    self._train_steps = settings.run.train_steps
    self._flag_values = settings.flag_values
    self._places = Places(settings.run.log_dir)
    checkpoints.require_plain(settings.run.log_dir, 'train_log_dir')
    try:
      self._places.eval_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
      raise InputError(
        f'{self._places.eval_dir} cannot be made: {error}; correct --train_log_dir.'
      ) from error
    self._results = ResultFile(self._places.eval_dir / 'results.jsonl')
    # An evaluator before this one may have ended between writing a result and writing the table.
    sequence_table.write_csv(self._places.table, self._results.read())
    # What an earlier evaluator has found is not evaluated again if its settings were the same. A
    # checkpoint that the user asks for (--eval_once, --eval_checkpoint) is evaluated in any case.
    same = flags_file.write_evaluation_flags(str(self._places.eval_dir), settings.flag_values)
    self._skip_done = same and not config.once and not config.checkpoint
    self._results_time = self._results.path.stat().st_mtime if self._results.path.exists() else 0.0
    self._writer = tf.summary.FileWriter(str(self._places.eval_dir))
    self._with_pictures = settings.run.image_summaries
    # The training's own flags, if they are known: so both are one run in TensorBoard's table.
    values = flags_file.read_flags(settings.run.log_dir) or settings.flag_values
    self._writer.add_summary(run_pages.hparams(values, settings.run.log_dir), 0)
    if VALIDATION not in [preset.name for preset in presets]:
      logging.info('No preset is named %r: no best checkpoint is kept.', VALIDATION)

  def run(self) -> None:
    """Evaluates what the settings ask for: one checkpoint, or all of a training as they come.

    All: until the checkpoint of the last training step is evaluated, or no new one has come for
    timeout_secs.

    Raises:
      InputError: one checkpoint is asked for, and it cannot be evaluated or there is none.
    """
    if self._config.checkpoint:
      self._evaluate_or_raise(self._config.checkpoint)
    elif self._config.once:
      newest = checkpoints.newest(self._places.log_dir)
      if newest is None:
        raise InputError(
          f'{self._places.log_dir} holds no readable checkpoint model-<step>: train first, or '
          'correct --train_log_dir.'
        )
      self._evaluate_or_raise(newest)
    else:
      self._poll()
    self._writer.close()

  def _poll(self) -> None:
    """Evaluates checkpoints as they come.

    A checkpoint that was left out is tried again when its files have changed.
    """
    seen: set[tuple[str, ...]] = set()
    for _ in self._wakeups():
      for step, prefix in checkpoints.find(self._places.log_dir).items():
        state = (prefix, *snapshots.state(prefix))
        if state in seen:
          continue
        seen.add(state)
        problem = self._evaluate(prefix)
        if problem:
          logging.warning('Checkpoint %s is left out: %s', prefix, problem)
        elif step >= self._train_steps:
          logging.info(
            'Checkpoint %d of train_steps=%d is evaluated: done.', step, self._train_steps
          )
          return
    logging.info(
      'No new checkpoint for %g s (--eval_timeout_secs): ending.', self._config.timeout_secs
    )

  def _wakeups(self) -> Iterator[None]:
    """Yields at the start, and then whenever there is a new checkpoint, until the time-out."""
    yield
    logging.info('Waiting for checkpoints in %s', self._places.log_dir)
    for _ in tf.train.checkpoints_iterator(
      self._places.log_dir, timeout=self._config.timeout_secs or None
    ):
      yield

  def _evaluate_or_raise(self, prefix: str) -> None:
    problem = self._evaluate(prefix)
    if problem:
      raise InputError(f'checkpoint {prefix} cannot be evaluated: {problem}')

  def _evaluate(self, prefix: str) -> str:
    """Evaluates a checkpoint on every preset that is not done yet.

    Returns:
      Why the checkpoint cannot be evaluated, '' if it was.
    """
    with contextlib.ExitStack() as stack:
      try:
        copy = stack.enter_context(snapshots.snapshot(prefix, self._places.eval_dir))
      except FileNotFoundError as error:
        return f'it is not there, or was deleted meanwhile ({error})'
      except OSError as error:
        return f'it cannot be copied to {self._places.eval_dir} ({error})'
      problem = self._problem(prefix, copy)
      if problem:
        return problem
      step = checkpoints.global_step(copy)
      self._evaluator.restore(copy)
      for preset in self._presets:
        self._evaluate_preset(prefix, copy, step, preset)
    return ''

  def _problem(self, prefix: str, copy: str) -> str:
    """Why this copy of a checkpoint cannot be evaluated, '' if it can."""
    why = checkpoints.unreadable(copy)
    if why:
      return f'it cannot be read, half-written or damaged ({why})'
    try:
      checkpoints.global_step(copy)
      why = flags_file.why_not_evaluated(os.path.dirname(prefix), self._flag_values)
    except InputError as error:
      return str(error)
    if why:
      return why
    mismatch = checkpoints.compare(copy, self._evaluator.variables)
    return f'it is of another model than these flags make: {mismatch}' if mismatch else ''

  def _evaluate_preset(self, prefix: str, copy: str, step: int, preset: Preset) -> None:
    if self._done(prefix, copy, preset):
      logging.info('%s at step %d is in %s already.', preset.name, step, self._results.path)
      return
    start = time.monotonic()
    line = progress.EvaluationLine(
      preset.name, step, self._config.num_episodes, self._evaluator.unit
    )
    with line:
      found = self._evaluator.evaluate(preset.name, line)
    result = Result(
      prefix,
      step,
      preset.name,
      preset.dataset,
      num_queries=self._num_queries,
      seconds=round(time.monotonic() - start, 2),
      **found.fields(),
    )
    logging.info('step %d  %s', step, result)
    # Before the result is written: after that, a restarted evaluator would skip this checkpoint.
    if preset.name == VALIDATION and snapshots.keep_best(copy, result, self._places.best_dir):
      logging.info(
        'The best checkpoint so far on %s is kept in %s', VALIDATION, self._places.best_dir
      )
    self._results.append(result)
    sequence_table.write_csv(self._places.table, self._results.read())
    self._writer.add_summary(found.summary(preset.name), step)
    if self._with_pictures:
      self._writer.add_summary(self._evaluator.pictures(preset.name), step)
    self._writer.flush()

  def _done(self, prefix: str, copy: str, preset: Preset) -> bool:
    """Whether an earlier evaluator wrote a result for it, after the checkpoint was saved."""
    if not self._skip_done or os.path.getmtime(f'{copy}.index') > self._results_time:
      return False
    return self._results.has(
      prefix,
      preset.name,
      preset.dataset,
      self._config.num_episodes,
      self._num_queries,
      self._evaluator.kind,
    )

  @property
  def _num_queries(self) -> int:
    """The number of query images of a task, over all its batches."""
    return self._config.num_batches * self._config.batch_size
