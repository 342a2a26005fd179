"""What the transformer sees of a support image (spec/model.md section 4)."""

from __future__ import annotations

import dataclasses

import tensorflow.compat.v1 as tf

from hypertransformer import errors
from hypertransformer.model import layers
from hypertransformer.model.blocks import Shape
from hypertransformer.model.noise import Noise, dropout
from hypertransformer.settings.model_config import FeatureConfig

SHARED_KERNEL = 3


def shared_convolutions(extractor: str) -> int:
  """'4-layer' or '4-layer-bn' -> 4."""
  return int(extractor[0])


def shared_features(
  images: tf.Tensor, config: FeatureConfig, noise: Noise | None = None
) -> tf.Tensor | None:
  """images [Ns, H, W, C] -> [Ns, shared_dim], or None without a shared extractor."""
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
  """Raises InputError if the shared extractor's convolutions do not fit the image (H, W, C)."""
  side = min(image_shape[:2])
  if not config.has_shared or config.shared_padding == 'same':
    return
  depth = shared_convolutions(config.shared_extractor)
  for number in range(1, depth + 1):
    if side < SHARED_KERNEL:
      raise errors.InputError(
        f'image_size={min(image_shape[:2])} is too small for shared_feature_extractor={config.shared_extractor} with '
        f'valid padding: convolution {number} would see {side} x {side}. Use '
        '--shared_feature_extractor_padding=same, fewer layers, or larger images.'
      )
    side = (side - SHARED_KERNEL) // (2 if number < depth else 1) + 1


@dataclasses.dataclass(frozen=True)
class LocalConvolution:
  """kernel_size and stride, pixels."""

  kernel_size: int
  stride: int


def local_convolutions(side: int, kernel_size: int, depth: int) -> list[LocalConvolution]:
  """The local convolutions on activations of side x side pixels: stride 2 for all but the last of
  `depth`.

  An input smaller than the kernel takes a kernel of its own size and stride 1; a convolution that
  no longer fits is left out.
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
  """activations [Ns, h, w, c] -> [Ns, channels * convolutions]: the spatial mean of each
  convolution.
  """
  means = []
  x = activations
  plan = local_convolutions(min(x.shape[1:3].as_list()), kernel_size, depth)
  with tf.variable_scope('features'):
    for number, one in enumerate(plan, start=1):
      if number == len(plan) and one.stride == 1 and not nonlinear:
        means.append(layers.conv2d_mean(x, channels, one.kernel_size, f'layer_{number}'))
        break
      x = layers.conv2d(x, channels, one.kernel_size, f'layer_{number}', one.stride)
      rectified = tf.nn.relu(x)
      means.append(tf.reduce_mean(rectified if nonlinear else x, [1, 2]))
      x = rectified
  return tf.concat(means, axis=-1)
