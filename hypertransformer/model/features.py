"""Features: what a layer's generator sees of each support image (docs/spec/model.md, section 4)."""

from __future__ import annotations

import dataclasses
import math

import tensorflow.compat.v1 as tf

from hypertransformer import errors
from hypertransformer.model import layers
from hypertransformer.model.blocks import Shape
from hypertransformer.model.cnn import LayerPlan
from hypertransformer.model.layers import Noise, dropout
from hypertransformer.settings.model_config import FeatureConfig, ModelConfig

NORMALIZATION_EPSILON = 1e-8  # added to the variance
SHARED_KERNEL = 3  # side of the shared extractor's kernels, in pixels
LOGITS_KERNEL = 3  # the same for the local features of a logits layer


def shared_convolutions(extractor: str) -> int:
  """Return how many convolutions a shared extractor has: 4 for "4-layer" and "4-layer-bn"."""
  return int(extractor[0])


def shared_features(
  images: tf.Tensor, config: FeatureConfig, noise: Noise | None = None
) -> tf.Tensor | None:
  """Compute the shared features, which every generator sees, from the images themselves.

  Args:
    images: float32 [Ns, H, W, C].
    config: The settings of the extractor.
    noise: Random numbers for its dropout; None for no dropout.

  Returns:
    [Ns, shared_dim], or None if the settings have no shared extractor.
  """
  if not config.has_shared:
    return None
  x = images
  depth = shared_convolutions(config.shared_extractor)
  with tf.variable_scope('shared_features', reuse=tf.AUTO_REUSE):
    for number in range(1, depth + 1):
      name = f'layer_{number}'
      stride = 2 if number < depth else 1
      x = layers.conv2d(
        x, config.shared_dim, SHARED_KERNEL, name, stride, config.shared_padding.upper()
      )
      x = tf.nn.relu(x)
      if config.shared_extractor.endswith('-bn'):
        x, *_ = layers.batch_norm(x, f'{name}/batch_norm')
  return dropout(tf.reduce_mean(x, [1, 2]), config.shared_dropout, noise)


def check_shared(config: FeatureConfig, image_shape: Shape) -> None:
  """Check that the shared extractor's convolutions fit images of the shape (H, W, C).

  Raises:
    InputError: The images are too small.
  """
  side = min(image_shape[:2])
  if not config.has_shared or config.shared_padding == 'same':
    return
  depth = shared_convolutions(config.shared_extractor)
  for number in range(1, depth + 1):
    if side < SHARED_KERNEL:
      raise errors.InputError(
        f'image_size={min(image_shape[:2])} is too small for '
        f'shared_feature_extractor={config.shared_extractor} with valid padding: convolution '
        f'{number} would see {side} x {side}. Use --shared_feature_extractor_padding=same, fewer '
        'layers, or larger images.'
      )
    side = (side - SHARED_KERNEL) // (2 if number < depth else 1) + 1


@dataclasses.dataclass(frozen=True)
class FeaturePlan:
  """Describes the features that the generator of a CNN layer sees of each support image.

  They are [flattened activations | local features | shared features], as far as flags ask for them.

  Attributes:
    flat: The number of activations that enter the layer if the generator sees them, otherwise 0.
    convolutions: Kernel size and stride of each local convolution, in pixels; the features are the
      spatial means of their outputs.
    channels: The number of channels of each local convolution.
    nonlinear: Whether a mean is taken after the relu and not before it.
    shared: The number of shared features.
  """

  flat: int
  convolutions: list[tuple[int, int]]
  channels: int
  nonlinear: bool
  shared: int

  @property
  def width(self) -> int:
    """The number of features of a support image, F."""
    return self.flat + len(self.convolutions) * self.channels + self.shared


def plan_features(config: ModelConfig, layer: LayerPlan) -> FeaturePlan:
  """Plan the features of a CNN layer.

  A convolution has two local convolutions with kernels of the size of its own; a logits layer has
  one of 3 x 3.

  Args:
    config: The model's settings.
    layer: The layer.
  """
  features = config.features
  inputs, outputs = layer.input_shape[-1], layer.output_shape[-1]
  sees_activations = layer.is_logits and layer.flatten and features.logits_extractor != 'default'
  depth = 1 if layer.is_logits else 2
  if features.layerwise == 0 or (sees_activations and features.logits_extractor == 'passthrough'):
    depth = 0
  channels = features.layerwise
  if channels is None:
    channels = inputs if layer.is_logits else max(inputs, outputs)
  return FeaturePlan(
    math.prod(layer.input_shape) if sees_activations else 0,
    local_convolutions(
      min(layer.input_shape[:2]), LOGITS_KERNEL if layer.is_logits else config.kernel_size, depth
    ),
    channels,
    features.nonlinear and layer.is_logits,
    features.shared_dim if features.has_shared else 0,
  )


def local_convolutions(side: int, kernel_size: int, depth: int) -> list[tuple[int, int]]:
  """Plan the convolutions that compute the local features of a layer.

  The last of them has stride 1, the others 2. If the activations are smaller than the kernel,
  kernels have the size of the activations, and stride 1. A convolution whose input has become
  smaller than its kernel is left out.

  Args:
    side: The shorter side of the activations, in pixels.
    kernel_size: The preferred size of the kernels, in pixels.
    depth: The preferred number of convolutions.

  Returns:
    Kernel size and stride of each convolution.
  """
  stride = 2 if side >= kernel_size else 1
  kernel_size = min(kernel_size, side)
  plan: list[tuple[int, int]] = []
  for number in range(1, depth + 1):
    if side < kernel_size:
      break
    plan.append((kernel_size, stride if number < depth else 1))
    side = (side - kernel_size) // plan[-1][1] + 1
  return plan


def layer_features(
  plan: FeaturePlan,
  activations: tf.Tensor,
  shared: tf.Tensor | None,
  config: FeatureConfig,
  noise: Noise | None,
) -> tf.Tensor:
  """Compute the features [Ns, F] of a CNN layer.

  Args:
    plan: Which features these are.
    activations: What enters the layer, [Ns, h, w, c].
    shared: The shared features, [Ns, shared_dim]; None without an extractor.
    config: The settings of the features.
    noise: Random numbers for dropout; None for no dropout.
  """
  parts = []
  if plan.flat:
    parts.append(tf.reshape(activations, [-1, plan.flat]))
  if plan.convolutions:
    parts.append(dropout(_local_features(plan, activations), config.dropout, noise))
  if shared is not None:
    parts.append(shared)
  return tf.concat(parts, axis=-1)


def _local_features(plan: FeaturePlan, x: tf.Tensor) -> tf.Tensor:
  """Compute the spatial mean of the output of each local convolution."""
  means = []
  with tf.variable_scope('features'):
    for number, (kernel_size, stride) in enumerate(plan.convolutions, start=1):
      name = f'layer_{number}'
      if number == len(plan.convolutions) and stride == 1 and not plan.nonlinear:
        # Nothing else is needed of this convolution.
        means.append(layers.conv2d_mean(x, plan.channels, kernel_size, name))
        break
      x = layers.conv2d(x, plan.channels, kernel_size, name, stride)
      rectified = tf.nn.relu(x)
      means.append(tf.reduce_mean(rectified if plan.nonlinear else x, [1, 2]))
      x = rectified
  return tf.concat(means, axis=-1)


def normalized(features: tf.Tensor, mask: tf.Tensor | None = None) -> tf.Tensor:
  """Give every feature zero mean and unit variance over the support set.

  See docs/spec/model.md, section 8. At the start of training the features of different images
  differ by 0.003 to 0.02, beside label embeddings of size 1: without this the transformer sees
  labels only, until the features have grown.
  Unlabeled samples count, as their images are as good as others'. Masked ones do not: they must
  have no influence. A feature that all samples share becomes 0, and so do all of a single sample.

  Args:
    features: [Ns, F].
    mask: float32 [Ns], 1 for a sample that is ignored; None if all count.

  Returns:
    [Ns, F].
  """
  if mask is None:
    centered = features - tf.reduce_mean(features, 0)
    variance = tf.reduce_mean(tf.square(centered), 0)
  else:
    shares = ((1.0 - mask) / tf.maximum(tf.reduce_sum(1.0 - mask), 1.0))[:, None]
    centered = features - tf.reduce_sum(shares * features, 0)
    variance = tf.reduce_sum(shares * tf.square(centered), 0)
  return centered * tf.math.rsqrt(variance + NORMALIZATION_EPSILON)
