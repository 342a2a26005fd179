"""The evaluator that runs beside a training.

It waits for checkpoints and evaluates each new one on every preset.
"""

from __future__ import annotations

import math
import pathlib
import time

from absl import logging

from hypertransformer.errors import InputError
from hypertransformer.evaluation import missed, snapshots
from hypertransformer.evaluation.done import Done
from hypertransformer.evaluation.evaluator import FIRST_STREAM, Evaluator
from hypertransformer.evaluation.intake import AGAIN, Checkpoint, Intake
from hypertransformer.evaluation.measured import Result, measured_on
from hypertransformer.evaluation.places import Places
from hypertransformer.evaluation.presets import Preset
from hypertransformer.evaluation.recorder import SECONDS_BETWEEN_TRIES, VALIDATION, Recorder
from hypertransformer.evaluation.refusals import Gone, NotNow, Refusals, Refused
from hypertransformer.progress import progress, show
from hypertransformer.runtime import checkpoints, run_folder, tensorboard
from hypertransformer.runtime.run_folder import FolderLock
from hypertransformer.settings import flags_file
from hypertransformer.settings.config import Settings

SECONDS_BETWEEN_LOOKS = 1.0  # into the folder of checkpoints


class Daemon:
  """Evaluates the checkpoints of one run.

  A checkpoint that cannot be read, or belongs to another model, is left out; a warning names it and
  says why. How many were deleted before their turn is said at the end.
  """

  def __init__(self, evaluator: Evaluator, presets: list[Preset], settings: Settings) -> None:
    """Nothing is read or written yet.

    Args:
      evaluator: the evaluator, whose graph is built already.
      presets: what each checkpoint is evaluated on; the evaluator must know them all.
      settings: those of the run. For sequences of tasks, the number of query batches must be 1.
    """
    self._evaluator = evaluator
    self._presets = presets
    self._settings = settings
    self._config = settings.evaluation
    # A checkpoint that the user asks for is evaluated in any case.
    self._one = settings.evaluation.once or bool(settings.evaluation.checkpoint)
    self._places = Places(settings.run.log_dir)
    self._measured = {
      preset.name: measured_on(
        settings, preset.dataset, preset.split, FIRST_STREAM + number, preset.name
      )
      for number, preset in enumerate(presets)
    }
    self._intake = Intake(self._places.eval_dir, settings.flag_values)
    self._refusals = Refusals(settings.run.log_dir)
    self._seen: dict[tuple[str, ...], float] = {}  # when to try again, by state; inf: never
    self._put_off: dict[str, NotNow] = {}  # why a checkpoint could not be evaluated yet, by prefix
    self._steps: set[int] = set()  # of all checkpoints that were there

  def run(self) -> None:
    """Evaluates what the settings ask for: one checkpoint, or all of a training as they come.

    All: until the checkpoint of the last training step is evaluated, or no new one has come for
    timeout_secs. One: also beside an evaluator that waits for all.

    Raises:
      InputError: nothing can be written or evaluated in this folder, another evaluator waits for
        its checkpoints, or a result could not be written down.
    """
    checkpoints.require_plain(self._settings.run.log_dir, 'train_log_dir')
    if self._one:
      prefix = self._one_checkpoint()
      self._start()
      try:
        self._evaluate_or_raise(prefix)
      finally:
        self._recorder.close()
      return
    self._make_folder()
    advice = (
      'It evaluates all checkpoints; end it first, or evaluate a single one beside it with '
      '--eval_once or --eval_checkpoint.'
    )
    with run_folder.hold(self._places.eval_dir, 'evaluator', advice) as lock:
      self._start()
      try:
        self._poll(lock)
        self._say_what_was_missed()
        self._end_what_was_put_off()
      finally:
        self._recorder.close()

  def _one_checkpoint(self) -> str:
    """The prefix of the only checkpoint to evaluate; raises InputError if there is none."""
    if self._config.checkpoint:
      return checkpoints.locate(self._config.checkpoint, '--eval_checkpoint')
    newest = checkpoints.newest(self._places.log_dir)
    if newest is None:
      raise InputError(
        f'{self._places.log_dir} holds no readable checkpoint model-<step>: train first, or '
        'correct --train_log_dir.'
      )
    return newest

  def _make_folder(self) -> None:
    try:
      self._places.eval_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
      raise InputError(
        f'{self._places.eval_dir} cannot be made: {error}; correct --train_log_dir.'
      ) from error

  def _start(self) -> None:
    """Opens the files of results. Raises InputError if there can be none."""
    self._make_folder()
    self._recorder = Recorder(self._places, None if self._one else self._measured.get(VALIDATION))
    self._done = Done(self._places, self._settings.flag_values)
    # The training's own flags, if they are known: so both are one run in TensorBoard's table.
    values = flags_file.read_flags(self._places.log_dir) or self._settings.flag_values
    self._recorder.add(tensorboard.hparams(values, self._places.log_dir), 0)
    if VALIDATION not in self._measured:
      logging.info('No preset is named %r: no best checkpoint is kept.', VALIDATION)

  def _poll(self, lock: FolderLock) -> None:
    """Evaluates checkpoints as they come.

    A checkpoint that was left out is tried again when its files have changed.
    """
    logging.info('Waiting for checkpoints in %s', self._places.log_dir)
    since = time.monotonic()
    while True:
      self._keep(lock)
      self._recorder.retry()
      found = self._next()
      if found is None:
        left = (self._config.timeout_secs or math.inf) - (time.monotonic() - since)
        if left <= 0:
          logging.info(
            'No new checkpoint for %g s (--eval_timeout_secs): ending.', self._config.timeout_secs
          )
          self._refusals.require_some_evaluated()
          return
        time.sleep(min(SECONDS_BETWEEN_LOOKS, left))
        continue
      step, prefix, state = found
      is_last = step >= self._settings.run.train_steps
      evaluated = self._try(prefix, state, is_last)
      since = time.monotonic() if self._seen[state] == math.inf else since
      if evaluated and is_last:
        logging.info(
          'Checkpoint %d of train_steps=%d is evaluated: done.',
          step,
          self._settings.run.train_steps,
        )
        return

  def _keep(self, lock: FolderLock) -> None:
    """Takes the lock anew if the folder of results was deleted and made anew meanwhile."""
    try:
      if self._places.eval_dir.is_dir() and not lock.acquire():
        raise InputError(f'another evaluator works in {self._places.eval_dir}: {lock.holder()}.')
    except OSError:
      pass  # no locks, or no room for one: a warning has said so, or will when results are written

  def _next(self) -> tuple[int, str, tuple[str, ...]] | None:
    """The next checkpoint to evaluate: its step, prefix and state; None if there is none."""
    for step, prefix in checkpoints.find(self._places.log_dir).items():
      self._steps.add(step)
      state = (prefix, *snapshots.state(prefix))
      if self._seen.get(state, 0.0) <= time.monotonic():
        return step, prefix, state
    return None

  def _try(self, prefix: str, state: tuple[str, ...], is_last: bool) -> bool:
    """Evaluates a checkpoint; returns whether it was. If not, a warning says why.

    Raises:
      InputError: it cannot be evaluated, and neither can any other.
    """
    self._seen[state] = math.inf
    told = self._put_off.pop(prefix, None)
    try:
      self._evaluate(prefix)
    except Gone:
      return False
    except NotNow as error:
      self._seen[state] = time.monotonic() + SECONDS_BETWEEN_TRIES
      self._put_off[prefix] = error
      if str(told) != str(error):
        logging.warning('Checkpoint %s is left out: %s', prefix, error)
      return False
    except Refused as error:
      if state == (prefix, *snapshots.state(prefix)):  # else it was being written: it comes again
        self._refusals.add(error, is_last)
        logging.warning('Checkpoint %s is left out: %s', prefix, error)
      return False
    self._refusals.evaluated = True
    return True

  def _evaluate_or_raise(self, prefix: str) -> None:
    try:
      self._evaluate(prefix)
    except (Gone, NotNow, Refused) as error:
      raise InputError(f'checkpoint {prefix} cannot be evaluated: {error}') from error

  def _evaluate(self, prefix: str) -> None:
    """Evaluates a checkpoint on every preset that is not done yet.

    Raises:
      Gone, NotNow, Refused: it cannot be evaluated.
    """
    with self._intake.take(prefix, self._evaluator) as found:
      for preset in self._presets:
        self._evaluate_preset(found, preset)

  def _evaluate_preset(self, found: Checkpoint, preset: Preset) -> None:
    measured = self._measured[preset.name]
    if not self._one and self._done.has(
      self._recorder.lines(), found.prefix, found.modified, found.digest, preset.name, measured
    ):
      logging.info('%s at step %d is in %s already.', preset.name, found.step, self._places.results)
      return
    start = time.monotonic()
    name, unit = f'step {found.step} {preset.name}', self._evaluator.unit
    with progress(name, self._config.num_episodes, unit) as bar:
      scores = self._evaluator.evaluate(
        preset.name, lambda done, mean: show(bar, done, f'accuracy {100 * mean:.1f} %')
      )
    result = Result(
      checkpoint=self._name(found.prefix),
      checkpoint_sha256=found.digest,
      step=found.step,
      preset=preset.name,
      measured=measured,
      seconds=round(time.monotonic() - start, 2),
      **scores.fields(),
    )
    logging.info('step %d  %s', found.step, result)
    run = pathlib.Path(found.prefix).parent
    summary = scores.summary(preset.name)
    if self._settings.run.image_summaries:
      summary.MergeFrom(self._evaluator.pictures(preset.name))
    self._recorder.record(found.copy, result, run, summary)

  def _name(self, prefix: str) -> str:
    """How results call a checkpoint: by its name alone if it is in the folder of the run."""
    path = pathlib.Path(prefix).absolute()
    here = path.parent.resolve() == pathlib.Path(self._places.log_dir).resolve()
    return path.name if here else str(path)

  def _end_what_was_put_off(self) -> None:
    """Tries once more what could not be evaluated; raises InputError if it still cannot."""
    for step, prefix in checkpoints.find(self._places.log_dir).items():
      if prefix in self._put_off:
        is_last = step >= self._settings.run.train_steps
        self._try(prefix, (prefix, *snapshots.state(prefix)), is_last)
    for prefix, why in self._put_off.items():
      raise InputError(
        f'{len(self._put_off)} checkpoints could not be evaluated, such as {prefix}: '
        f'{str(why).removesuffix(AGAIN)}. Mend that and start the evaluator again.'
      )

  def _say_what_was_missed(self) -> None:
    text = str(missed.find(self._places.log_dir, self._recorder.lines(), self._steps))
    if text:
      logging.warning('%s', text)
