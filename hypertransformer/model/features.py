"""Features: what a layer's generator sees of each support image (docs/spec/model.md, section 4)."""

from __future__ import annotations

import dataclasses

import tensorflow.compat.v1 as tf

from hypertransformer import errors
from hypertransformer.model import layers
from hypertransformer.model.blocks import Shape
from hypertransformer.model.layers import Noise, dropout
from hypertransformer.settings.model_config import FeatureConfig

NORMALIZATION_EPSILON = 1e-8  # added to the variance
SHARED_KERNEL = 3  # side of the shared extractor's kernels, in pixels


def shared_convolutions(extractor: str) -> int:
  """Returns how many convolutions a shared extractor has: 4 for "4-layer" and "4-layer-bn"."""
  return int(extractor[0])


def shared_features(
  images: tf.Tensor, config: FeatureConfig, noise: Noise | None = None
) -> tf.Tensor | None:
  """Computes the shared features, which every generator sees, from the images themselves.

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
        x = layers.batch_norm(x, f'{name}/batch_norm')
  return dropout(tf.reduce_mean(x, [1, 2]), config.shared_dropout, noise)


def check_shared(config: FeatureConfig, image_shape: Shape) -> None:
  """Checks that the shared extractor's convolutions fit images of the shape (H, W, C).

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
class LocalConvolution:
  """The side of the kernel of a local convolution, and its stride, both in pixels."""

  kernel_size: int
  stride: int


def local_convolutions(side: int, kernel_size: int, depth: int) -> list[LocalConvolution]:
  """Plans the convolutions that compute the local features of a layer.

  The last of them has the stride 1, the others 2. If the activations are smaller than the kernel,
  kernels have the side of the activations, and the stride 1. A convolution whose input has become
  smaller than its kernel is left out.

  Args:
    side: The shorter side of the activations, in pixels.
    kernel_size: The side of the kernels that is wanted, in pixels.
    depth: How many convolutions are wanted.
  """
  stride = 2 if side >= kernel_size else 1
  kernel_size = min(kernel_size, side)
  plan: list[LocalConvolution] = []
  for number in range(1, depth + 1):
    if side < kernel_size:
      break
    plan.append(LocalConvolution(kernel_size, stride if number < depth else 1))
    side = (side - kernel_size) // plan[-1].stride + 1
  return plan


def local_features(
  activations: tf.Tensor, channels: int, kernel_size: int, depth: int, nonlinear: bool
) -> tf.Tensor:
  """Computes the local features of a layer: for each convolution the spatial mean of its output.

  Args:
    activations: What enters the layer, [Ns, h, w, c].
    channels: How many channels each convolution has.
    kernel_size: The side of the kernels that is wanted, in pixels.
    depth: How many convolutions are wanted, see `local_convolutions`.
    nonlinear: Whether the mean is taken after the relu and not before it.

  Returns:
    [Ns, channels * number of convolutions].
  """
  means = []
  x = activations
  plan = local_convolutions(min(x.shape[1:3].as_list()), kernel_size, depth)
  with tf.variable_scope('features'):
    for number, one in enumerate(plan, start=1):
      if number == len(plan) and one.stride == 1 and not nonlinear:
        # Nothing else is needed of this convolution.
        means.append(layers.conv2d_mean(x, channels, one.kernel_size, f'layer_{number}'))
        break
      x = layers.conv2d(x, channels, one.kernel_size, f'layer_{number}', one.stride)
      rectified = tf.nn.relu(x)
      means.append(tf.reduce_mean(rectified if nonlinear else x, [1, 2]))
      x = rectified
  return tf.concat(means, axis=-1)


def normalized(features: tf.Tensor, mask: tf.Tensor | None = None) -> tf.Tensor:
  """Gives every feature mean 0 and deviation 1 over the support set.

  See docs/spec/model.md, section 8. At the start of training the features of different images
  differ by 0.003 to 0.02, beside label embeddings of size 1: without this the transformer sees
  labels only, until the features have grown.
  Unlabelled samples count, as their images are as good as others'. Masked ones do not: they are to
  have no influence. A feature that all samples share becomes 0, and so do all of a single sample.

  Args:
    features: [Ns, F].
    mask: float32 [Ns], 1 for a sample that is ignored; None if all count.

  Returns:
    [Ns, F].
  """
  if mask is None:
    centred = features - tf.reduce_mean(features, 0)
    variance = tf.reduce_mean(tf.square(centred), 0)
  else:
    shares = ((1.0 - mask) / tf.maximum(tf.reduce_sum(1.0 - mask), 1.0))[:, None]
    centred = features - tf.reduce_sum(shares * features, 0)
    variance = tf.reduce_sum(shares * tf.square(centred), 0)
  return centred * tf.math.rsqrt(variance + NORMALIZATION_EPSILON)
