"""The training graph: from episodes to the objective, its gradients, and the update.

Several GPUs of one machine can share the episodes of a step. Each computes the objective and the
gradients of its episodes with the same variables. There is one update, by the mean gradients.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import tensorflow.compat.v1 as tf

from hypertransformer.data.arrays import ClassSet
from hypertransformer.data.folder import DataFolder
from hypertransformer.episodes import augmentation, pipeline, sequences
from hypertransformer.episodes.pipeline import ALONE, Episode, EpisodeStream, Share
from hypertransformer.episodes.sampling import EpisodeSampler
from hypertransformer.errors import require
from hypertransformer.model.hypertransformer import HyperTransformer
from hypertransformer.settings.config import Settings
from hypertransformer.training import objective, optimizer
from hypertransformer.training.objective import Objective
from hypertransformer.training.optimizer import Gradients

TRAIN_STREAM, TEST_STREAM = 0, 1  # the numbers of the episode streams of a seed
# The device of the variables if several GPUs share a step. Each GPU reads them once in a step.
VARIABLES = '/cpu:0'
_VARIABLE_OPS = ('VarHandleOp', 'VariableV2')


@dataclasses.dataclass(frozen=True)
class Inputs:
  """What a training graph is built from besides its settings; all of it is checked.

  Attributes:
    train: The sampler of training episodes.
    test: The sampler of test episodes.
    model: The model.
  """

  train: EpisodeSampler
  test: EpisodeSampler
  model: HyperTransformer


@dataclasses.dataclass(frozen=True)
class TrainGraph:
  """The tensors of the training graph that the training loop runs.

  Attributes:
    objective: What a step minimizes and measures.
    step_done: Running it makes one update; its value is the number of updates then done.
    global_step: The number of updates done.
    learning_rate: The learning rate of the step.
    testing: A placeholder, False by default. With True the episode comes from the test stream, and
      dropout and other noise are off.
    gradients: Those of the loss, before clipping.
    train_stream: The training episodes. It must be initialized with the number of the first one.
    test_stream: The test episodes, likewise; None in pre-training.
    sync: The optimizer, if several workers make each update together.
  """

  objective: Objective
  step_done: tf.Tensor
  global_step: tf.Variable
  learning_rate: tf.Tensor
  testing: tf.Tensor
  gradients: Gradients
  train_stream: EpisodeStream
  test_stream: EpisodeStream | None
  sync: tf.train.SyncReplicasOptimizer | None

  @property
  def metrics(self) -> dict[str, tf.Tensor]:
    """The scalars that are measured in a training step, by TensorBoard tag."""
    return {**self.objective.metrics, 'learning_rate': self.learning_rate}

  @property
  def test_metrics(self) -> dict[str, tf.Tensor]:
    """Scalars by TensorBoard tag, to be run with True fed to `testing`; empty in pre-training."""
    if self.test_stream is None:
      return {}
    return {'accuracy/test_accuracy': self.objective.metrics['accuracy/accuracy']}


def open_inputs(settings: Settings, seed: int) -> Inputs:
  """Open the datasets and plan the model; no graph is needed.

  Args:
    settings: The settings of the run.
    seed: The seed of the run. The same seed gives the same episodes and the same noise.

  Raises:
    InputError: A dataset is missing, or data, model and sizes do not fit together.
  """
  data = settings.data
  folder = DataFolder(
    data.folder, data.shuffle_labels_seed, data.use_labels, data.tfds_folder, data.arrays
  )
  train = folder.open(data.train_dataset)
  test = folder.open(data.test_dataset, data.test_split)
  channels, others = (each.arrays.image_shape[-1] for each in (train, test))
  require(
    channels == others,
    f'train_dataset {train.name!r} has {channels} channels, test_dataset {test.name!r} has '
    f'{others}: they must be the same.',
  )
  augmentation.check(settings.train_augmentation, train.arrays.image_shape)
  augmentation.check(settings.test_augmentation, test.arrays.image_shape)
  return Inputs(
    _sampler(settings, train, seed, TRAIN_STREAM),
    _sampler(settings, test, seed, TEST_STREAM),
    HyperTransformer(settings.model, (data.image_size, data.image_size, channels)),
  )


def _sampler(settings: Settings, class_set: ClassSet, seed: int, stream: int) -> EpisodeSampler:
  """Return a sampler of episodes, each of which has a whole sequence in continual learning."""
  episodes, continual = settings.episodes, settings.continual
  if continual is not None:
    sequences.require_classes(class_set, episodes, continual, continual.train_length)
    episodes = sequences.episode_config(episodes, continual, continual.train_length)
  return EpisodeSampler(class_set, episodes, seed, stream)


def gpus(count: int) -> tuple[str, ...]:
  """Return the names of the first `count` GPUs of this machine.

  Raises:
    InputError: TensorFlow finds fewer GPUs.
  """
  found = len(tf.config.list_physical_devices('GPU')) if count else 0
  require(
    found >= count,
    f'num_gpus is {count}, but TensorFlow finds {found} GPUs on this machine: lower it, or install '
    'the package with its extra [gpu] and check that nvidia-smi lists the GPUs.',
  )
  return tuple(f'/gpu:{number}' for number in range(count))


def build(
  settings: Settings, inputs: Inputs, share: Share = ALONE, devices: Sequence[str] = ()
) -> TrainGraph:
  """Build the training graph in the default graph.

  Args:
    settings: The settings of the run.
    inputs: The episodes and the model.
    share: Which training episodes are used, if several workers share those of a seed.
    devices: The devices that share the episodes of a step, such as '/gpu:0'; () if TensorFlow
      places the whole step.
  """
  global_step = tf.train.get_or_create_global_step()
  testing = tf.placeholder_with_default(False, [], 'testing')
  together, size = settings.run.episodes_per_step, settings.data.image_size
  train_stream = pipeline.stream(
    inputs.train, settings.train_augmentation, size, 'train_episodes', together, share
  )
  test_stream = None
  if settings.loss.pretrain_shared:
    episode = train_stream.next()
  else:
    test_stream = pipeline.stream(
      inputs.test, settings.test_augmentation, size, 'test_episodes', together
    )
    episode = pipeline.either(testing, test_stream, train_stream)
  noise_on = 1.0 - tf.cast(testing, tf.float32)
  classes = inputs.train.class_set.classes
  real_classes = range(int(classes.min()), int(classes.max()) + 1)

  def objective_of(episodes: Episode, count: int) -> Objective:
    make = objective.of_episode if count == 1 else objective.of_episodes
    return make(settings, inputs.model, episodes, real_classes, global_step, noise_on)

  if devices:
    shares = _shares(episode, together, len(devices))
    parts = []
    for device, ours in zip(devices, shares, strict=True):
      with tf.device(_placing(device)):
        parts.append(objective_of(ours, together // len(devices)))
    rule, rate = optimizer.make(settings.optimizer, global_step)
    goal, found = _mean_objective(parts), _mean_gradients(rule, devices, parts)
  else:
    goal = objective_of(episode, together)
    rule, rate = optimizer.make(settings.optimizer, global_step)
    found = optimizer.gradients(rule, goal.loss)
  norm, sync = settings.optimizer.gradient_norm_clip, None
  if share.synchronous:
    sync = optimizer.synchronous(rule, share.workers, norm)
    update = sync.apply_gradients(found, global_step)
  else:
    update = rule.apply_gradients(optimizer.clip(found, norm), global_step)
  with tf.control_dependencies([update]):
    step_done = global_step.read_value()
  return TrainGraph(
    objective=goal,
    step_done=step_done,
    global_step=global_step,
    learning_rate=rate,
    testing=testing,
    gradients=found,
    train_stream=train_stream,
    test_stream=test_stream,
    sync=sync,
  )


def _shares(episodes: Episode, together: int, count: int) -> list[Episode]:
  """Split the episodes of a step into `count` shares; a single episode has no axis for them."""
  if together == 1:
    return [episodes]
  each = together // count
  return [
    Episode(*(x[i] if each == 1 else x[i : i + each] for x in episodes))
    for i in range(0, together, each)
  ]


def _mean_objective(parts: Sequence[Objective]) -> Objective:
  """Return the means of losses and metrics; the rest is that of the first part."""
  return dataclasses.replace(
    parts[0],
    loss=_mean([part.loss for part in parts]),
    metrics={tag: _mean([part.metrics[tag] for part in parts]) for tag in parts[0].metrics},
  )


def _mean_gradients(
  rule: tf.train.Optimizer, devices: Sequence[str], parts: Sequence[Objective]
) -> Gradients:
  """Build the gradients of the loss of each part on its device, and return their means."""
  found = []
  for device, part in zip(devices, parts, strict=True):
    with tf.device(_placing(device)):
      found.append(optimizer.gradients(rule, part.loss))
  return [
    (None if pairs[0][0] is None else _mean([gradient for gradient, _ in pairs]), pairs[0][1])
    for pairs in zip(*found, strict=True)
  ]


def _mean(values: list[tf.Tensor]) -> tf.Tensor:
  return tf.add_n(values) / len(values)


def _placing(device: str) -> Callable[[tf.Operation], str]:
  """Return a function that places operations on a device, and variables on VARIABLES."""
  return lambda operation: VARIABLES if operation.type in _VARIABLE_OPS else device
