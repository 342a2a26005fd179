"""Several devices of one machine share the episodes of a step: in-graph towers.

Every device computes the loss of its share and its gradients, with the same variables. The update
is one, by the mean of the gradients, which is the gradient of the mean loss.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import tensorflow.compat.v1 as tf

from hypertransformer import errors
from hypertransformer.episodes.pipeline import Episode
from hypertransformer.model.hypertransformer import HyperTransformer
from hypertransformer.training import optimizer
from hypertransformer.training.optimizer import Gradients
from hypertransformer.training.setup import Setup
from hypertransformer.training.step import Step, of_one_episode, of_several_episodes

# Where the variables are. Every device reads them once in a step.
VARIABLES = '/cpu:0'
_VARIABLE_OPS = ('VarHandleOp', 'VariableV2')


@dataclasses.dataclass(frozen=True)
class Tower:
  """What one device computes in a step.

  Attributes:
    device: the name of the device, such as '/gpu:0'.
    step: loss, metrics and generated tensors of its share of the episodes.
  """

  device: str
  step: Step


def gpus(count: int) -> tuple[str, ...]:
  """The names of the first `count` GPUs of this machine, for `Setup.devices`; () for 0.

  Raises:
    InputError: TensorFlow finds fewer GPUs.
  """
  found = len(tf.config.list_physical_devices('GPU')) if count else 0
  errors.require(
    found >= count,
    f'num_gpus is {count}, but TensorFlow finds {found} GPUs on this machine: lower it, or install '
    'the package with its extra [gpu], and check with nvidia-smi that the driver sees them.',
  )
  return tuple(f'/gpu:{number}' for number in range(count))


def build(
  setup: Setup, model: HyperTransformer, episodes: Episode, step: tf.Tensor, noise_on: tf.Tensor
) -> list[Tower]:
  """Builds a tower on each of `setup.devices`.

  Args:
    setup: what the graph is made from; `episodes_per_step` is a multiple of the number of devices.
    model: the model.
    episodes: the episodes of the step. If there are several, they are the first axis.
    step: the number of updates done.
    noise_on: a scalar, 1 where there is dropout and other noise, 0 where there is none.
  """
  each = setup.episodes_per_step // len(setup.devices)
  make = of_one_episode if each == 1 else of_several_episodes
  towers = []
  for number, device in enumerate(setup.devices):
    with tf.device(_placing(device)):
      ours = _share(episodes, number * each, each, setup.episodes_per_step)
      towers.append(Tower(device, make(setup, model, ours, step, noise_on)))
  return towers


def together(towers: list[Tower]) -> Step:
  """The step that all towers make: means of losses and metrics; the rest is of the first one."""
  steps = [tower.step for tower in towers]
  return Step(
    _mean([step.loss for step in steps]),
    {tag: _mean([step.metrics[tag] for step in steps]) for tag in steps[0].metrics},
    steps[0].weights,
    steps[0].rows,
    steps[0].shown,
  )


def gradients(rule: tf.train.Optimizer, towers: list[Tower]) -> Gradients:
  """Builds the mean over the towers of the gradients of their losses.

  Args:
    rule: the update rule that will apply them.
    towers: the towers.
  """
  found = []
  for tower in towers:
    with tf.device(_placing(tower.device)):
      found.append(optimizer.gradients(rule, tower.step.loss))
  return [
    (None if pairs[0][0] is None else _mean([gradient for gradient, _ in pairs]), pairs[0][1])
    for pairs in zip(*found, strict=True)
  ]


def _mean(values: list[tf.Tensor]) -> tf.Tensor:
  return tf.add_n(values) / len(values)


def _share(episodes: Episode, start: int, count: int, of: int) -> Episode:
  """Cuts `count` episodes, from `start` on, out of those of a step; one comes without the axis."""
  if of == 1:
    return episodes
  cut = {
    field.name: getattr(episodes, field.name)[start : start + count]
    for field in dataclasses.fields(Episode)
  }
  return Episode(**{name: x[0] if count == 1 else x for name, x in cut.items()})


def _placing(device: str) -> Callable[[tf.Operation], str]:
  """Places operations on a device, but variables where all devices find them."""
  return lambda operation: VARIABLES if operation.type in _VARIABLE_OPS else device
