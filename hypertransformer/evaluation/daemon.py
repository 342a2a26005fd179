"""The evaluator that runs beside a training: it polls for checkpoints, evaluates, and appends.

Results are written in an order such that a crash between two steps loses nothing: the best
checkpoint, the line in results.jsonl, then what is derived from that. A checkpoint without a line
is evaluated again by the next evaluator.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import time
from collections.abc import Iterator
from typing import Any

import filelock
import numpy as np
import tensorflow.compat.v1 as tf
from absl import logging

from hypertransformer import progress
from hypertransformer.data import files
from hypertransformer.episodes.sampling import EpisodeSampler
from hypertransformer.errors import InputError
from hypertransformer.evaluation import best, metrics, missed, results
from hypertransformer.evaluation.evaluator import FIRST_STREAM, Evaluator, sampled_episodes
from hypertransformer.evaluation.presets import Preset, measured_on, nearest_pixels
from hypertransformer.evaluation.results import Line
from hypertransformer.pictures import matrices
from hypertransformer.runtime import checkpoints, run_folder, sessions, tensorboard
from hypertransformer.settings import flags, flags_file
from hypertransformer.settings.config import Settings

SECONDS_BETWEEN_POLLS = 1.0
BASELINE_TASKS = 200  # on which the baseline of nearest pixels is measured
_ADVICE = (
  'It evaluates all checkpoints. Stop it first, or evaluate a single checkpoint beside it with '
  '--eval_once or --eval_checkpoint.'
)


class Unusable(InputError):
  """A checkpoint that cannot be evaluated, while others perhaps can."""


def require_same_model(settings: Settings, folder: str) -> None:
  """Check that the flags make the model of the checkpoints in a directory.

  Raises:
    InputError: There are checkpoints, and flags.json beside them says that their model differs.
  """
  if checkpoints.find(folder):
    flags_file.require_same_model(folder, settings.flag_values, to_train=False)


class Daemon:
  """Evaluates the checkpoints of one run."""

  def __init__(self, evaluator: Evaluator, presets: list[Preset], settings: Settings) -> None:
    """Keep the arguments; nothing is read or written yet.

    Args:
      evaluator: The evaluator, whose graph is built already.
      presets: What each checkpoint is evaluated on; the evaluator must know them all.
      settings: The settings of the run.
    """
    self._evaluator = evaluator
    self._presets = presets
    self._settings = settings
    self._log_dir = settings.run.log_dir
    self._results = results.file_of(self._log_dir)
    self._measured = {
      preset.name: measured_on(settings, preset, FIRST_STREAM + number)
      for number, preset in enumerate(presets)
    }
    self._baselines: dict[str, dict[str, float | None]] = {}
    self._events: tensorboard.EventWriter | None = None

  def run(self) -> None:
    """Evaluate what the settings ask for: one checkpoint, or all of a training as they appear.

    Raises:
      InputError: Nothing can be evaluated, another evaluator polls the same directory, or a result
        cannot be written.
    """
    checkpoints.require_plain(self._log_dir, 'train_log_dir')
    run_folder.require_no_links(self._log_dir)
    config, eval_dir = self._settings.evaluation, self._results.parent
    prefix = ''
    if config.checkpoint:
      prefix = checkpoints.locate(config.checkpoint, '--eval_checkpoint')
    elif config.once:
      prefix = checkpoints.locate(self._log_dir, '--train_log_dir')
    try:
      eval_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
      raise _cannot_write(self._log_dir, error) from error
    if best.PRESET not in self._measured:
      logging.info('No preset is named %r: no best checkpoint is kept.', best.PRESET)
    with contextlib.ExitStack() as stack:
      if not prefix:
        stack.enter_context(run_folder.hold(eval_dir, 'evaluator', _ADVICE))
      with self._writing():
        values = flags.values_affecting(self._settings.flag_values, 'evaluation')
        flags_file.write_flags(str(eval_dir), values)
        self._write_table()  # a killed evaluator may not have done so
      if prefix:
        self._evaluate(prefix, again=True)
      else:
        self._poll()

  def _poll(self) -> None:
    """Evaluate checkpoints as they appear, until that of the last step, or until the time-out."""
    logging.info('Waiting for checkpoints in %s', self._log_dir)
    timeout, last_step = self._settings.evaluation.timeout_secs, self._settings.run.train_steps
    tried: dict[str, Any] = {}  # the state of each checkpoint when it was tried, by prefix
    steps: set[int] = set()
    evaluated, unusable = False, None
    since = time.monotonic()
    while True:
      found = checkpoints.find(self._log_dir)
      if last_step:
        found.pop(0, None)  # the untrained model
      steps.update(found)
      new = [step for step, prefix in found.items() if tried.get(prefix) != best.state(prefix)]
      if not new:
        if timeout and time.monotonic() - since >= timeout:
          logging.info('No new checkpoint for %g s (--eval_timeout_secs): stopping.', timeout)
          break
        time.sleep(min(SECONDS_BETWEEN_POLLS, timeout or SECONDS_BETWEEN_POLLS))
        continue
      prefix = found[new[0]]
      tried[prefix] = best.state(prefix)
      try:
        self._evaluate(prefix)
      except Unusable as error:
        if best.state(prefix) == tried[prefix]:  # else it is being written, or was deleted
          unusable = error
          logging.warning('Skipping a checkpoint: %s', error)
      else:
        evaluated = True
        if new[0] >= last_step:
          logging.info('Checkpoint %d of train_steps=%d is evaluated.', new[0], last_step)
          break
      since = time.monotonic()
    if unusable and not evaluated:
      raise InputError(f'no checkpoint in {self._log_dir} can be evaluated: {unusable}')
    if left_out := missed.text(self._log_dir, results.read(self._results), steps):
      logging.warning('%s', left_out)

  def _evaluate(self, prefix: str, again: bool = False) -> None:
    """Evaluate a checkpoint on all presets, and write the results.

    Args:
      prefix: The path of the checkpoint, without ending.
      again: Whether to evaluate it on presets of which there are results already.

    Raises:
      Unusable: It cannot be evaluated.
      InputError: Neither can any other checkpoint of the run, or a result cannot be written.
    """
    require_same_model(self._settings, os.path.dirname(prefix))
    state = best.state(prefix)
    try:
      contents = best.files(prefix)
    except OSError as error:
      raise Unusable(f'{prefix} is incomplete: {error}.') from error
    digest = best.digest(contents)
    presets = self._presets if again else self._without_result(digest)
    if not presets:
      logging.info('The results of %s are in %s already.', prefix, self._results)
      return
    step = self._restore(prefix)
    if best.state(prefix) != state:
      raise Unusable(f'{prefix} has changed while it was read.')
    for preset in presets:
      start = time.monotonic()
      scores = self._scores(preset.name, step)
      seconds = round(time.monotonic() - start, 2)
      line = {
        'checkpoint': self._name(prefix),
        'step': step,
        'preset': preset.name,
        'dataset': preset.dataset,
        **metrics.fields(scores, self._settings.continual),
        'num_queries': self._measured[preset.name]['query_images'],
        **self._nearest_pixels(preset),
        'seconds': seconds,
        'checkpoint_sha256': digest,
        'measured': self._measured[preset.name],
      }
      logging.info('step %d  %s', step, metrics.text(line))
      self._record(line, contents)

  def _scores(self, preset: str, step: int) -> metrics.Scores:
    """Evaluate the restored checkpoint on a preset, with a progress bar."""
    count, unit = self._settings.evaluation.num_episodes, self._evaluator.unit
    described = f'step {step}  {preset}'
    with progress.progress(described, count, unit) as bar, sessions.input_errors():
      return self._evaluator.evaluate(
        preset, lambda done, mean: progress.show(bar, done, f'accuracy {metrics.percent(mean)}')
      )

  def _without_result(self, digest: str) -> list[Preset]:
    """Return the presets on which this checkpoint was not evaluated in the same way before."""
    per_class = self._settings.evaluation.per_class
    done = [
      (line['preset'], line['measured'])
      for line in results.read(self._results)
      if line.get('checkpoint_sha256') == digest and ('per_class' in line or not per_class)
    ]
    return [each for each in self._presets if (each.name, self._measured[each.name]) not in done]

  def _restore(self, prefix: str) -> int:
    """Restore a checkpoint and return its step; raises Unusable, or InputError."""
    if why := checkpoints.unreadable(prefix):
      raise Unusable(f'{prefix} is damaged or incomplete ({why}).')
    try:
      step = checkpoints.global_step(prefix)
      mismatch = checkpoints.compare(prefix, self._evaluator.variables)
      if not mismatch:
        self._evaluator.restore(prefix)
        return step
    except (InputError, tf.errors.OpError) as error:
      raise Unusable(f'{prefix} cannot be restored: {str(error).splitlines()[0]}') from error
    is_last = step >= self._settings.run.train_steps  # no better one will come
    raise (InputError if is_last else Unusable)(
      f'{prefix} is of another model than these flags make: {mismatch}. Use the flags of the run, '
      'or another --train_log_dir.'
    )

  def _name(self, prefix: str) -> str:
    """Return how results call a checkpoint: without a directory if it is in that of the run."""
    path = pathlib.Path(prefix).absolute()
    here = path.parent.resolve() == pathlib.Path(self._log_dir).resolve()
    return path.name if here else str(path)

  def _nearest_pixels(self, preset: Preset) -> dict[str, float | None]:
    """Measure the baseline, once for each preset; it is defined for single tasks only."""
    if preset.name not in self._baselines:
      mean, ci95 = None, None
      if self._settings.continual is None:
        config = sampled_episodes(self._settings)
        sampler = EpisodeSampler(preset.class_set, config, 0, 0, evaluation=True)
        accuracies = nearest_pixels(sampler, BASELINE_TASKS)
        mean, ci95 = metrics.mean_and_ci95(accuracies) if len(accuracies) else (None, None)
      self._baselines[preset.name] = {'nearest_pixels': mean, 'nearest_pixels_ci95': ci95}
    return self._baselines[preset.name]

  def _record(self, line: Line, contents: dict[str, bytes]) -> None:
    """Write a result, and keep the checkpoint with these files if it is the best one."""
    preset = line['preset']
    summary = tensorboard.scalar_summary(metrics.scalars(preset, line))
    if 'continual' in line:
      picture = matrices.accuracies(
        np.array(line['continual']['matrix'], np.float64),
        f'{preset}: mean of {line["num_tasks"]} sequences',
      )
      summary.MergeFrom(tensorboard.image_summary({f'eval_matrix/{preset}': picture}))
    if self._settings.run.image_summaries:
      summary.MergeFrom(self._evaluator.pictures(preset))
    with self._writing():
      if preset == best.PRESET:
        best.keep(contents, line, pathlib.Path(self._log_dir) / 'best')
      results.append(self._results, line)
      self._write_table()
    if self._events is None:
      self._events = tensorboard.EventWriter(str(self._results.parent))
      # With the flags of the training, both are one run in TensorBoard's table.
      values = flags_file.read_flags(self._log_dir) or self._settings.flag_values
      self._events.add_summary(tensorboard.hparams(values, self._log_dir), 0)
    self._events.add_summary(summary, line['step'])

  @contextlib.contextmanager
  def _writing(self) -> Iterator[None]:
    """Let evaluators of the same run write in turn, and name what cannot be written."""
    lock = filelock.FileLock(self._results.with_name('.results.lock'))
    with contextlib.suppress(OSError):  # without locks, or where writing will fail
      lock.acquire()
    try:
      yield
    except (OSError, tf.errors.OpError) as error:
      raise _cannot_write(self._log_dir, error) from error
    finally:
      if lock.is_locked:  # delete the file before the lock is free, so that it is our own
        pathlib.Path(lock.lock_file).unlink(missing_ok=True)
      lock.release()

  def _write_table(self) -> None:
    """Write continual.csv from all results, if there are any on sequences."""
    if table := results.continual_table(results.read(self._results)):
      with files.atomic_file(self._results.with_name('continual.csv')) as file:
        file.write(table.encode())


def _cannot_write(folder: str, error: OSError | tf.errors.OpError) -> InputError:
  path, why = getattr(error, 'filename', None), getattr(error, 'strerror', None)
  return InputError(
    f'{path or folder} cannot be written: {why or str(error).splitlines()[0]}. Make room or make '
    'it writable, and start the evaluator again: it resumes with this checkpoint.'
  )
