"""A training run: its directory, where it starts, and the session that trains.

A run resumes from its latest readable checkpoint, with the seed that is on record in flags.json.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow.compat.v1 as tf
from absl import logging

from hypertransformer.data import inspection
from hypertransformer.errors import InputError
from hypertransformer.model import getter
from hypertransformer.progress import progress
from hypertransformer.runtime import checkpoints, run_folder, sessions, tensorboard
from hypertransformer.runtime.run_folder import FolderLock
from hypertransformer.runtime.tensorboard import EventWriter
from hypertransformer.settings import flags, flags_file
from hypertransformer.settings.config import Settings
from hypertransformer.training import graph as graph_lib
from hypertransformer.training import hooks, saving
from hypertransformer.training.graph import Inputs, TrainGraph

# What --restore_shared_features_from restores: the features and, if there is one, their head.
SHARED = ('model/shared_features/', 'loss/shared_head/')
# The scopes of the variables that a new run takes from the checkpoint of each flag.
TAKEN = {'init_from': ('model/',), 'restore_shared_features_from': SHARED}


@dataclasses.dataclass(frozen=True)
class TrainingRun:
  """A training run that is checked and whose directory is locked; made by `open_run`.

  Attributes:
    settings: The settings of the run.
    seed: The seed of the run: the given one, that on record, or a new one.
    inputs: The episodes and the model.
    lock: The lock on the directory.
    before: What flags.json says of the run so far; empty for a new run.
    resumed: The checkpoint from which the run resumes; None for a new run.
    step: The number of updates done before.
  """

  settings: Settings
  seed: int
  inputs: Inputs
  lock: FolderLock
  before: Mapping[str, Any]
  resumed: str | None
  step: int

  def is_done(self) -> bool:
    """Return whether all updates are done, and log it."""
    folder, steps = self.settings.run.log_dir, self.settings.run.train_steps
    if self.step >= steps:
      logging.info(
        '%s is at step %d already, train_steps is %d: nothing to do.', folder, self.step, steps
      )
    return self.step >= steps

  def scaffold(self) -> tf.train.Scaffold:
    """Return what initializes and saves the variables of the default graph.

    Raises:
      InputError: The checkpoint to resume from, or the one with shared features, does not fit the
        variables, or cannot be read.
    """
    restored = []
    if self.resumed is not None:
      checkpoints.require_match(self.resumed, tf.global_variables(), whole=True)
    for flag, prefix in self._sources.items():
      variables = [v for v in tf.trainable_variables() if v.op.name.startswith(TAKEN[flag])]
      checkpoints.require_match(prefix, variables)
      restored.append((tf.train.Saver(variables), prefix))
      logging.info('Taking %d variables from %s (--%s).', len(variables), prefix, flag)

    def init_fn(scaffold: tf.train.Scaffold, session: tf.Session) -> None:
      for saver, prefix in restored:
        saver.restore(session, prefix)

    return tf.train.Scaffold(saver=saving.Saver(), init_fn=init_fn)

  def ancestry(self) -> list[dict[str, Any]]:
    """Return the checkpoints from which this run and its ancestors have taken their weights."""
    prefix = self._sources.get('init_from')
    if prefix is None:
      return flags_file.ancestry(self.before)
    earlier = flags_file.ancestry(flags_file.read_flags(os.path.dirname(prefix)) or {})
    return [*earlier, {'checkpoint': prefix, 'step': checkpoints.global_step(prefix)}]

  @functools.cached_property
  def _sources(self) -> dict[str, str]:
    """The checkpoints from which a new run takes weights, by flag; all of each was read."""
    paths = {flag: self.settings.flag_values[flag] for flag in TAKEN if self.resumed is None}
    return {flag: checkpoints.locate(path, flag) for flag, path in paths.items() if path}

  def record(self, graph: TrainGraph) -> tuple[EventWriter, saving.SaveGuard]:
    """Write down what is known before the first step.

    Args:
      graph: The training graph, which is the default graph and complete.

    Returns:
      The writer of summaries, and the guard of the directory for the hook that saves.

    Raises:
      InputError: The directory cannot be written.
    """
    run = self.settings.run
    values = {**self.settings.flag_values, 'seed': self.seed}
    classes = describe_classes(self.inputs, self.settings)
    noted = {**values, flags_file.CLASSES: classes, flags_file.ANCESTRY: self.ancestry()}
    if self.resumed is not None:
      noted[flags_file.HISTORY] = history = flags_file.history(self.before)
      change = {
        'step': self.step,
        'flags': changed_flags(self.before, values),
        'classes': warn_of_changed_classes(run.log_dir, self.before, classes),
      }
      if change['flags']:
        logging.warning('%s', flags_file.change_text({**change, 'classes': {}}))
      if change['flags'] or change['classes']:
        history.append(change)
      earlier = flags_file.earlier_training_images(noted)
      what = '--test_dataset'
      inspection.warn_of_classes_on_record(self.inputs.test.class_set, earlier, what)
      warn_of_cooldown(run.log_dir, run.train_steps, self.before, self.step)
    flags_file.write_flags(run.log_dir, noted)
    run_folder.note_machine(run.log_dir, self.step)
    checkpoints.repair_state(run.log_dir, self.resumed)
    resumed = None if self.resumed is None else self.step
    writer = EventWriter(os.path.join(run.log_dir, 'train'), tf.get_default_graph(), resumed)
    for page in (
      tensorboard.hparams(values, run.log_dir),
      tensorboard.layout(),
      tensorboard.flags_page(values),
      tensorboard.variables_page(getter.table(graph.objective.rows)),
    ):
      writer.add_summary(page, self.step)
    return writer, saving.SaveGuard(run.log_dir, self.lock, noted)


@contextlib.contextmanager
def open_run(settings: Settings) -> Iterator[TrainingRun]:
  """Check a run and find where it starts; create and lock its directory for the `with` block.

  Raises:
    InputError: Data, model and sizes do not fit together, the directory cannot be used, or it has a
      run of another model or only unreadable checkpoints.
  """
  folder = settings.run.log_dir
  checkpoints.require_plain(folder, 'train_log_dir')
  run_folder.require_no_links(folder)
  before = (flags_file.read_flags(folder) or {}) if checkpoints.find(folder) else {}
  seed = next(
    each
    for each in (settings.run.seed, before.get('seed'), secrets.randbits(62))
    if each is not None
  )
  inputs = graph_lib.open_inputs(settings, seed)
  inspection.warn_of_shared_classes(inputs.test.class_set, inputs.train.class_set, '--test_dataset')
  try:
    os.makedirs(folder, exist_ok=True)
  except (OSError, ValueError) as error:  # ValueError: a NUL byte
    raise InputError(
      f'train_log_dir {folder!r} cannot be created ({getattr(error, "strerror", None) or error}): '
      'use another one.'
    ) from error
  advice = 'Wait for it, stop it, or use another --train_log_dir.'
  with run_folder.hold(folder, 'trainer', advice) as lock:
    saving.clear_leftovers(folder)
    resumed = checkpoints.newest(folder)
    if resumed is None and checkpoints.find(folder):
      raise InputError(
        f'none of the checkpoints in {folder} can be read (see the warnings). Delete them to start '
        'from scratch, or use another --train_log_dir.'
      )
    if resumed is not None:
      flags_file.require_same_model(folder, settings.flag_values, before)
      logging.info('Resuming from checkpoint %s', resumed)
    yield TrainingRun(
      settings=settings,
      seed=seed,
      inputs=inputs,
      lock=lock,
      before=before,
      resumed=resumed,
      step=0 if resumed is None else checkpoints.global_step(resumed),
    )


def train(settings: Settings) -> int:
  """Train a model, or resume its training, up to settings.run.train_steps updates.

  Returns:
    The number of updates done, which is smaller after SIGTERM or Ctrl-C.

  Raises:
    InputError: Settings, data or checkpoints do not fit together, or the data were changed.
    tf.train.NanLossDuringTrainingError: The loss or a variable became NaN.
  """
  with open_run(settings) as run:
    if run.is_done():
      return run.step
    with hooks.SignalHook() as signals, tf.Graph().as_default():
      tf.set_random_seed(run.seed % 2**31)
      graph = graph_lib.build(settings, run.inputs, devices=graph_lib.gpus(settings.run.num_gpus))
      config = sessions.config(tf.get_default_graph(), settings.run.xla)
      creator = functools.partial(
        tf.train.ChiefSessionCreator, config=config, checkpoint_dir=settings.run.log_dir
      )
      return lead(run, graph, signals, creator)


def lead(
  run: TrainingRun,
  graph: TrainGraph,
  signals: hooks.SignalHook,
  creator_of: Callable[[tf.train.Scaffold], tf.train.SessionCreator],
  further: Sequence[tf.train.SessionRunHook] = (),
  stop_grace_period_secs: int = 120,
) -> int:
  """Train, save and report, alone or as the chief of a cluster.

  Args:
    run: The run.
    graph: Its training graph, which is the default graph and complete.
    signals: The handler of signals.
    creator_of: Returns the creator of the session for a scaffold.
    further: Hooks of the cluster, which come first.
    stop_grace_period_secs: How long to wait for threads at the end.

  Returns:
    The number of updates done.
  """
  config = run.settings.run
  logging.info('The CNN:\n%s', getter.table(graph.objective.rows))
  logging.info(
    '%d variables with %d parameters; seed %d',
    len(tf.trainable_variables()),
    sum(v.shape.num_elements() for v in tf.trainable_variables()),
    run.seed,
  )
  scaffold = run.scaffold()
  writer, guard = run.record(graph)
  step = run.step
  try:
    with (
      progress('step', config.train_steps, done=step) as bar,
      tf.train.MonitoredSession(
        creator_of(scaffold),
        [
          *further,
          signals,
          hooks.StreamHook(graph),
          tf.train.NanTensorHook(graph.objective.loss),  # before the hook that saves
          tf.train.StopAtStepHook(last_step=config.train_steps),
          hooks.ReportHook(graph, writer, bar, config.image_summaries),
          tf.train.StepCounterHook(hooks.STEPS_PER_SUMMARY, summary_writer=writer),
          tf.train.CheckpointSaverHook(
            config.log_dir,
            save_steps=config.steps_between_saves
            if config.steps_between_saves > 0
            else config.train_steps,
            scaffold=scaffold,
            checkpoint_basename=checkpoints.BASENAME,
            save_graph_def=False,
            listeners=[guard],
          ),
        ],
        stop_grace_period_secs,
      ) as session,
    ):
      failure: InputError | None = None  # the data were changed; what was learned is saved
      while not (failure or session.should_stop()):
        try:
          with sessions.input_errors():
            step = int(session.run(graph.step_done))
        except InputError as error:
          failure = error
    if failure:
      raise failure
    if step >= config.train_steps:
      writer.add_summary(tensorboard.ended(well=True), step)
  except tf.train.NanLossDuringTrainingError:
    writer.add_summary(tensorboard.ended(well=False), step)
    raise
  finally:
    writer.close()
  logging.info(
    'Stopped at step %d of %d%s.',
    step,
    config.train_steps,
    ' by a signal; run the same command to resume' if signals.received else '',
  )
  return step


def describe_classes(inputs: Inputs, settings: Settings) -> dict[str, dict[str, Any]]:
  """Describe the classes of training and test, so that a later start can notice a change.

  Returns:
    For the keys 'train_dataset' and 'test_dataset', the value of the flag, the number of classes
    and of their images, a digest of sizes and names, and digits of an image of each class.
  """
  return {
    flag: {
      'dataset': text,
      'classes': len(classes.classes),
      'images': int(classes.arrays.sizes[classes.classes].sum()),
      'digest': inspection.digest(classes),
      'pixels': inspection.images_of_classes(classes),
    }
    for flag, classes, text in (
      ('train_dataset', inputs.train.class_set, settings.data.train_dataset),
      ('test_dataset', inputs.test.class_set, settings.data.test_dataset),
    )
  }


def changed_flags(before: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, list[Any]]:
  """Return the flags with which a run is trained otherwise than before, as [before, after] by name.

  Those that name the classes are compared by `warn_of_changed_classes`, and the number of steps by
  `warn_of_cooldown`.
  """
  now = flags.values_affecting(values, 'training')
  return {
    name: [before[name], value]
    for name, value in now.items()
    if name not in ('train_dataset', 'test_dataset')
    and name != 'train_steps'
    and name in before
    and before[name] != value
  }


def warn_of_changed_classes(
  folder: str, before: Mapping[str, Any], now: Mapping[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
  """Warn if a run resumes with other classes.

  Args:
    folder: The directory of the run.
    before: What its flags.json says.
    now: What `describe_classes` returns.

  Returns:
    What flags.json says of the classes that have changed, by flag.
  """
  noted = before.get(flags_file.CLASSES)
  changed = {}
  for flag, ours in now.items():
    was = noted.get(flag) if isinstance(noted, dict) else None
    if not isinstance(was, dict):
      continue
    different = [key for key in ours if key in was and was[key] != ours[key]]
    if not different:
      continue
    changed[flag] = was
    logging.warning(
      '--%s has other data than the run in %s had: %s with %s classes and %s images before, %s '
      'with %d and %d now (different: %s). Training continues with these; to avoid that, use the '
      'original data or another --train_log_dir.',
      *(flag, folder, was.get('dataset', 'a dataset'), was.get('classes'), was.get('images')),
      *(ours['dataset'], ours['classes'], ours['images'], ', '.join(different)),
    )
  return changed


def warn_of_cooldown(folder: str, train_steps: int, before: Mapping[str, Any], step: int) -> None:
  """Warn if a run whose learning rate is already cooling down gets more steps.

  Args:
    folder: The directory of the run.
    train_steps: The number of updates in all.
    before: What flags.json says of the run so far.
    step: The number of updates done.
  """
  planned = before.get('train_steps', train_steps)
  begin = round((1 - before.get('learning_rate_cooldown', 0)) * planned)
  if step > begin and train_steps > planned:
    logging.warning(
      'The learning rate of the run in %s has been cooling down since step %d, to end at step %d. '
      'With train_steps=%d it rises again. For one long run, resume from a checkpoint before step '
      '%d: copy it, with flags.json, to another --train_log_dir.',
      folder,
      begin,
      planned,
      train_steps,
      begin,
    )
