"""The CNN whose weights are generated: which layers it has, and what each of them computes.

See docs/spec/model.md, section 5.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import TypeVar

import tensorflow.compat.v1 as tf

from hypertransformer.errors import require
from hypertransformer.model import layers
from hypertransformer.model.blocks import BlockLayout, Shape
from hypertransformer.model.layers import Noise, dropout
from hypertransformer.settings.model_config import ModelConfig

LEAKY_SLOPE = 0.01


@dataclasses.dataclass(frozen=True)
class Architecture:
  """Describes the CNN that a value of the flag cnn_model_name stands for.

  Attributes:
    convolutions: The number of convolutional layers.
    padding: Padding of every convolution, "VALID" or "SAME".
    pool: Whether max-pooling of 2 x 2 pixels, with stride 2, follows each convolution.
    flatten: Whether the logits layer sees all activations, flattened. Otherwise it sees their mean
      over all pixels.
  """

  convolutions: int
  padding: str = 'VALID'
  pool: bool = False
  flatten: bool = False


_BUILT_IN = {
  '3-layer': Architecture(3),
  '4-layer': Architecture(4),
  'maxpool-4-layer': Architecture(4, 'SAME', pool=True, flatten=True),
}
_Made = TypeVar('_Made', bound=Architecture | Callable[[], Architecture])
ARCHITECTURES = {**_BUILT_IN}  # by the value of --cnn_model_name


def register_cnn(name: str) -> Callable[[_Made], _Made]:
  """Return a decorator that adds a CNN, or replaces one that was added before.

    @register_cnn('wide')
    def wide():
      return Architecture(3, 'SAME', pool=True)

  The decorator also takes an `Architecture` itself.

  Args:
    name: The value of cnn_model_name that stands for the CNN.

  Raises:
    InputError: The package has a CNN of this name, or the function returns no Architecture.
  """
  require(name not in _BUILT_IN, f'The CNN {name!r} is part of the package. Use another name.')

  def register(made: _Made) -> _Made:
    architecture = made if isinstance(made, Architecture) else made()
    require(
      isinstance(architecture, Architecture),
      f'The CNN {name!r} is {architecture!r}. Return an Architecture.',
    )
    ARCHITECTURES[name] = architecture
    return made

  return register


@dataclasses.dataclass(frozen=True)
class LayerPlan:
  """Describes one layer of the CNN before any tensor is built.

  Attributes:
    name: "layer_1", "layer_2" and so on, or "head_1" and so on for a warm-up head.
    generator: Variable scope of the layer's generator, such as "generator_1".
    is_logits: Whether this is a dense layer at an end of the CNN. Otherwise it is a convolution.
    input_shape: Shape of what enters the layer for one image, (h, w, c).
    output_shape: Shape of what leaves it, (h, w, c), or (outputs,) for a logits layer.
    layout: The layout of the layer's weight blocks; None if the layer is trained and not generated.
    flatten: Whether a logits layer sees all activations, flattened, and not their spatial mean.
    pool: Whether max-pooling follows a convolution.
    padding: Padding of a convolution, "VALID" or "SAME".
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
  """Plan all layers of the CNN, the logits layer last.

  Args:
    config: The model's settings.
    image_shape: Height, width and channels of the images, (H, W, C).

  Raises:
    InputError: There is no such CNN, or it does not fit the settings or the images.
  """
  architecture = _architecture(config)
  trained = _trained_layers(config.trained_layers, architecture.convolutions)
  plans: list[LayerPlan] = []
  shape = image_shape
  for number in range(1, architecture.convolutions + 1):
    plans.append(_plan_convolution(config, architecture, number, shape, number in trained))
    shape = plans[-1].output_shape
  number = architecture.convolutions + 1
  outputs = config.embedding_units or config.num_labels
  return [
    *plans,
    _plan_logits(f'layer_{number}', f'generator_{number}', outputs, shape, architecture.flatten),
  ]


def plan_heads(config: ModelConfig, plans: list[LayerPlan]) -> list[LayerPlan]:
  """Plan the warm-up heads: a logits layer on the output of each convolution except the last.

  A head sees the mean of that output over all pixels.

  Args:
    config: The model's settings.
    plans: The layers of the CNN, as returned by `plan_layers`.

  Returns:
    One plan per head; none if the settings have no warm-up heads.
  """
  if config.warmup_heads == 'none':
    return []
  heads = [
    _plan_logits(f'head_{number}', f'head_generator_{number}', config.num_labels, plan.output_shape)
    for number, plan in enumerate(plans[:-2], start=1)
  ]
  if config.warmup_heads == 'trained':
    return [dataclasses.replace(head, layout=None) for head in heads]
  return heads


def _architecture(config: ModelConfig) -> Architecture:
  """Return the CNN of the settings.

  Raises:
    InputError: There is no such CNN, or the settings ask for features that it does not have.
  """
  name, extractor = config.cnn_name, config.features.logits_extractor
  require(
    name in ARCHITECTURES,
    f'cnn_model_name={name} is unknown. Use one of {", ".join(ARCHITECTURES)}.',
  )
  require(
    extractor == 'default' or ARCHITECTURES[name].flatten,
    f'logits_feature_extractor={extractor} requires a CNN whose logits layer sees all activations, '
    f'unlike cnn_model_name={name}. Use logits_feature_extractor=default, or one of '
    f'{", ".join(each for each in ARCHITECTURES if ARCHITECTURES[each].flatten)}.',
  )
  return ARCHITECTURES[name]


def _trained_layers(count: int, convolutions: int) -> range:
  """Return the numbers of the convolutions that are trained and not generated, counted from 1.

  Args:
    count: The flag number_of_trained_cnn_layers: the first `count` convolutions, or the last
      `-count` if it is negative.
    convolutions: The number of convolutions of the CNN.

  Raises:
    InputError: There are fewer convolutions.
  """
  require(
    abs(count) <= convolutions,
    f'number_of_trained_cnn_layers={count} exceeds the {convolutions} convolutions of the CNN. Use '
    f'-{convolutions}..{convolutions}.',
  )
  return range(1, count + 1) if count >= 0 else range(convolutions + count + 1, convolutions + 1)


def _plan_convolution(
  config: ModelConfig, architecture: Architecture, number: int, shape: Shape, trained: bool
) -> LayerPlan:
  side_out = [_side_out(config, architecture, side) for side in shape[:2]]
  require(
    min(side_out) >= 1,
    f'image_size is too small for cnn_model_name={config.cnn_name} with '
    f'kernel_size={config.kernel_size} and stride={config.stride}: the input of convolution '
    f'{number} would be {shape[0]} x {shape[1]}. Use larger images, a smaller stride, or a CNN '
    'with fewer layers.',
  )
  return LayerPlan(
    f'layer_{number}',
    f'generator_{number}',
    is_logits=False,
    input_shape=shape,
    output_shape=(*side_out, config.channels),
    layout=None if trained else _convolution_layout(config, shape[2]),
    pool=architecture.pool,
    padding=architecture.padding,
  )


def _side_out(config: ModelConfig, architecture: Architecture, side: int) -> int:
  """Return the height (or width) of the output of a convolutional layer; 0 if nothing is left."""
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
  name: str, generator: str, outputs: int, shape: Shape, flatten: bool = False
) -> LayerPlan:
  inputs = math.prod(shape) if flatten else shape[2]
  shapes = {'logits/kernel': (inputs, outputs), 'logits/bias': (outputs,)}
  return LayerPlan(
    name,
    generator,
    is_logits=True,
    input_shape=shape,
    output_shape=(outputs,),
    layout=BlockLayout('output', outputs, shapes),
    flatten=flatten,
  )


def activation(name: str) -> layers.Activation:
  """Return relu, or for "lrelu" leaky relu with slope 0.01."""
  return tf.nn.relu if name == 'relu' else lambda x: tf.nn.leaky_relu(x, alpha=LEAKY_SLOPE)


def convolution(
  plan: LayerPlan, x: tf.Tensor, config: ModelConfig, frozen: tf.Tensor | None = None
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
  """Compute a convolutional layer: convolution, activation, max-pooling if any, batch norm.

  Args:
    plan: The layer.
    x: Activations [n, h, w, c].
    config: The model's settings.
    frozen: Statistics of the batch norm; see layers.batch_norm.

  Returns:
    Activations [n, h', w', channels], and the mean and the variance [channels] before batch norm.
  """
  x = layers.conv2d(
    x,
    config.channels,
    config.kernel_size,
    'conv',
    config.stride,
    plan.padding,
    use_bias=config.generate_bias,
  )
  if plan.pool:
    # Before the activation, not after it: as that is monotone, the numbers are the same, for a
    # quarter of the work.
    x = tf.nn.max_pool2d(x, 2, 2, 'VALID')
  x = activation(config.cnn_activation)(x)
  return layers.batch_norm(x, 'batch_norm', frozen)


def logits_inputs(plan: LayerPlan, x: tf.Tensor) -> tf.Tensor:
  """Return what a logits layer sees of activations [n, h, w, c]: all of them, or spatial means."""
  if plan.flatten:
    return tf.reshape(x, [-1, math.prod(plan.input_shape)])
  return tf.reduce_mean(x, [1, 2])


def logits(plan: LayerPlan, x: tf.Tensor, config: ModelConfig, noise: Noise | None) -> tf.Tensor:
  """Compute a logits layer: a dense layer on the flattened activations or on their spatial mean.

  Args:
    plan: The layer.
    x: Activations [n, h, w, c].
    config: The model's settings.
    noise: Random numbers for the dropout of the dense layer's inputs; None for no dropout.

  Returns:
    [n, outputs].
  """
  x = dropout(logits_inputs(plan, x), config.cnn_dropout_rate, noise)
  return layers.dense(x, plan.output_shape[0], 'logits')
