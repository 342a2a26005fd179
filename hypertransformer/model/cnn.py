"""The generated CNN (spec/model.md section 5): the table of CNNs, the plan of each layer, and what
a layer computes.
"""

from __future__ import annotations

import dataclasses

import tensorflow.compat.v1 as tf

from hypertransformer import errors
from hypertransformer.model import layers
from hypertransformer.model.blocks import BlockLayout, Shape
from hypertransformer.model.noise import Noise, dropout
from hypertransformer.settings.model_config import ModelConfig

LEAKY_SLOPE = 0.01


@dataclasses.dataclass(frozen=True)
class Architecture:
  """convolutions: how many; padding of each; pool: 2x2 max-pooling behind each; flatten: what the
  logits see, all activations or their spatial mean; strided: --stride applies.
  """

  convolutions: int
  padding: str
  pool: bool
  flatten: bool


ARCHITECTURES = {
  '3-layer': Architecture(3, 'VALID', pool=False, flatten=False),
  '4-layer': Architecture(4, 'VALID', pool=False, flatten=False),
  'maxpool-4-layer': Architecture(4, 'SAME', pool=True, flatten=True),
}


@dataclasses.dataclass(frozen=True)
class LayerPlan:
  """One layer before anything is built: shapes, and which of its variables are generated.

  name: 'layer_1', or 'head_1' for a warm-up head; generator: its variable scope.
  input_shape, output_shape: (h, w, c), or (outputs,) for logits. layout: None = trained only.
  """

  name: str
  generator: str
  is_logits: bool
  input_shape: Shape
  output_shape: Shape
  layout: BlockLayout | None
  flatten: bool = False
  pool: bool = False
  padding: str = 'VALID'


def plan_layers(config: ModelConfig, image_shape: Shape) -> list[LayerPlan]:
  """The CNN's layers, the logits layer last. Raises InputError for an image that is too small."""
  architecture = ARCHITECTURES[config.cnn_name]
  trained = _trained_layers(config.trained_layers, architecture.convolutions)
  plans: list[LayerPlan] = []
  shape = image_shape
  for number in range(1, architecture.convolutions + 1):
    plan = _plan_convolution(config, architecture, number, shape, number in trained)
    plans.append(plan)
    shape = plan.output_shape
  number = architecture.convolutions + 1
  plans.append(
    _plan_logits(
      f'layer_{number}',
      f'generator_{number}',
      config.embedding_units or config.num_labels,
      shape,
      architecture.flatten,
      True,
    )
  )
  return plans


def plan_heads(config: ModelConfig, plans: list[LayerPlan]) -> list[LayerPlan]:
  """Warm-up heads: a logits layer on the spatial mean of every convolution's output but the last
  one's.
  """
  if config.warmup_heads == 'none':
    return []
  return [
    _plan_logits(
      f'head_{number}',
      f'head_generator_{number}',
      config.num_labels,
      plan.output_shape,
      False,
      config.warmup_heads == 'generated',
    )
    for number, plan in enumerate(plans[:-2], start=1)
  ]


def _trained_layers(count: int, convolutions: int) -> range:
  """Numbers of the convolutions that are ordinary trained layers: the first `count`, or the last
  `-count`.
  """
  if abs(count) > convolutions:
    raise errors.InputError(
      f'number_of_trained_cnn_layers is {count}, but the CNN has {convolutions} '
      f'convolutions: use -{convolutions}..{convolutions}.'
    )
  return range(1, count + 1) if count >= 0 else range(convolutions + count + 1, convolutions + 1)


def _plan_convolution(
  config: ModelConfig, architecture: Architecture, number: int, shape: Shape, trained: bool
) -> LayerPlan:
  side_out = [_side_out(config, architecture, side) for side in shape[:2]]
  if min(side_out) < 1:
    raise errors.InputError(
      f'image_size is too small for cnn_model_name={config.cnn_name} with kernel_size={config.kernel_size} and '
      f'stride={config.stride}: convolution {number} would see {shape[0]} x {shape[1]}. '
      'Use larger images, a smaller stride, or a CNN with fewer layers.'
    )
  layout = None if trained else _convolution_layout(config, shape[2])
  return LayerPlan(
    f'layer_{number}',
    f'generator_{number}',
    False,
    shape,
    (*side_out, config.channels),
    layout,
    pool=architecture.pool,
    padding=architecture.padding,
  )


def _side_out(config: ModelConfig, architecture: Architecture, side: int) -> int:
  if architecture.padding == 'VALID':
    side -= config.kernel_size - 1
  side = -(-side // config.stride) if side > 0 else 0
  return side // 2 if architecture.pool else side


def _convolution_layout(config: ModelConfig, channels_in: int) -> BlockLayout:
  size, channels = config.kernel_size, config.channels
  shapes: dict[str, Shape] = {'conv/kernel': (size, size, channels_in, channels)}
  if config.generate_bias:
    shapes['conv/bias'] = (channels,)
  if config.generate_bn:
    shapes |= {'batch_norm/gamma': (channels,), 'batch_norm/beta': (channels,)}
  return BlockLayout(
    config.allocation, channels if config.allocation == 'output' else size * size, shapes
  )


def _plan_logits(
  name: str, generator: str, outputs: int, shape: Shape, flatten: bool, generated: bool
) -> LayerPlan:
  inputs = shape[0] * shape[1] * shape[2] if flatten else shape[2]
  layout = BlockLayout(
    'output', outputs, {'logits/kernel': (inputs, outputs), 'logits/bias': (outputs,)}
  )
  return LayerPlan(
    name, generator, True, shape, (outputs,), layout if generated else None, flatten=flatten
  )


def activation(name: str) -> layers.Activation:
  """relu, or leaky relu with slope 0.01."""
  return tf.nn.relu if name == 'relu' else lambda x: tf.nn.leaky_relu(x, alpha=LEAKY_SLOPE)


def convolution(plan: LayerPlan, x: tf.Tensor, config: ModelConfig) -> tf.Tensor:
  """x [n, h, w, c] -> [n, h', w', channels]: convolution -> activation -> max-pool -> batch norm."""
  x = layers.conv2d(
    x,
    config.channels,
    config.kernel_size,
    'conv',
    config.stride,
    plan.padding,
    use_bias=config.generate_bias,
  )
  if (
    plan.pool
  ):  # before the activation, which is monotone: the same numbers for a quarter of the work
    x = tf.nn.max_pool2d(x, 2, 2, 'VALID')
  x = activation(config.cnn_activation)(x)
  return layers.batch_norm(x, 'batch_norm')


def logits(plan: LayerPlan, x: tf.Tensor, config: ModelConfig, noise: Noise | None) -> tf.Tensor:
  """x [n, h, w, c] -> [n, outputs]: dense on the flattened activations or on their spatial mean."""
  x = (
    tf.reshape(x, [-1, x.shape[1] * x.shape[2] * x.shape[3]])
    if plan.flatten
    else tf.reduce_mean(x, [1, 2])
  )
  x = dropout(x, config.cnn_dropout_rate, noise)
  return layers.dense(x, plan.output_shape[0], 'logits')
