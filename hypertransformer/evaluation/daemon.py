"""The evaluator beside the training: polls for checkpoints and evaluates each new one on every
preset.
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
from hypertransformer.runtime import checkpoints
from hypertransformer.settings import flags_file
from hypertransformer.settings.config import Settings

VALIDATION = 'val'  # the preset that chooses the best checkpoint


@dataclasses.dataclass(frozen=True)
class Places:
  """Where the evaluator reads and writes: the training's folder, eval/ and best/ in it."""

  log_dir: str

  @property
  def eval_dir(self) -> pathlib.Path:
    return pathlib.Path(self.log_dir) / 'eval'

  @property
  def best_dir(self) -> pathlib.Path:
    return pathlib.Path(self.log_dir) / 'best'

  @property
  def table(self) -> pathlib.Path:
    return self.eval_dir / 'continual.csv'


class Daemon:
  """Evaluates checkpoints of one run. A checkpoint that is gone, broken, or another model's is
  named and left out.
  """

  def __init__(self, evaluator: Evaluator, presets: list[Preset], settings: Settings) -> None:
    """Makes the folder of results. Raises InputError if it cannot be made."""
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
    sequence_table.write_csv(
      self._places.table, self._results.read()
    )  # a crash may have come between the two
    # Lines of an earlier evaluator count as done only if it had the same settings, and nobody asks
    # for one checkpoint.
    same = flags_file.write_evaluation_flags(str(self._places.eval_dir), settings.flag_values)
    self._skip_done = same and not config.once and not config.checkpoint
    self._results_time = self._results.path.stat().st_mtime if self._results.path.exists() else 0.0
    self._writer = tf.summary.FileWriter(str(self._places.eval_dir))
    if VALIDATION not in [preset.name for preset in presets]:
      logging.info('No preset is named %r: no best checkpoint is kept.', VALIDATION)

  def run(self) -> None:
    """Evaluates until a checkpoint of the last training step is done, or nothing new comes for
    timeout_secs.

    Raises InputError where one given checkpoint cannot be evaluated, or there is none
    (--eval_once).
    """
    if self._config.checkpoint:
      self._evaluate_or_raise(self._config.checkpoint)
    elif self._config.once:
      newest = checkpoints.newest(self._places.log_dir)
      if newest is None:
        raise InputError(
          f'{self._places.log_dir} holds no readable checkpoint model-<step>: train first, or correct '
          '--train_log_dir.'
        )
      self._evaluate_or_raise(newest)
    else:
      self._poll()
    self._writer.close()

  def _poll(self) -> None:
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
    """Now, and whenever there is a new checkpoint, until the time-out."""
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
    """Evaluates on every preset that is not done yet. Returns what is wrong with the checkpoint, ''
    if nothing.
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
    # Before the line of results, after which it would not be evaluated again.
    if preset.name == VALIDATION and snapshots.keep_best(copy, result, self._places.best_dir):
      logging.info(
        'The best checkpoint so far on %s is kept in %s', VALIDATION, self._places.best_dir
      )
    self._results.append(result)
    sequence_table.write_csv(self._places.table, self._results.read())
    self._writer.add_summary(found.summary(preset.name), step)
    self._writer.flush()

  def _done(self, prefix: str, copy: str, preset: Preset) -> bool:
    """Whether an earlier evaluator left a line for it that is younger than the checkpoint."""
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
    return self._config.num_batches * self._config.batch_size
