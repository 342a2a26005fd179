"""What the transformer sees of a support image (spec/model.md section 4)."""

from __future__ import annotations

import tensorflow.compat.v1 as tf

from hypertransformer.config import FeatureConfig
from hypertransformer.model import layers

SHARED_KERNEL = 3


def shared_convolutions(extractor: str) -> int:
  """'4-layer' or '4-layer-bn' -> 4."""
  return int(extractor[0])


def shared_features(images: tf.Tensor, config: FeatureConfig, noise: layers.Noise | None = None) -> tf.Tensor | None:
  """images [Ns, H, W, C] -> [Ns, shared_dim], or None without a shared extractor."""
  if not config.has_shared:
    return None
  x = images
  depth = shared_convolutions(config.shared_extractor)
  with tf.variable_scope('shared_features', reuse=tf.AUTO_REUSE):
    for number in range(1, depth + 1):
      name = f'layer_{number}'
      stride = 2 if number < depth else 1
      x = layers.conv2d(x, config.shared_dim, SHARED_KERNEL, name, stride, config.shared_padding.upper())
      x = tf.nn.relu(x)
      if config.shared_extractor.endswith('-bn'):
        x = layers.batch_norm(x, f'{name}/batch_norm')
  return layers.dropout(tf.reduce_mean(x, [1, 2]), config.shared_dropout, noise)


def local_features(activations: tf.Tensor, channels: int, kernel_size: int,
                   depth: int, nonlinear: bool) -> tf.Tensor:
  """activations [Ns, h, w, c] -> [Ns, channels * convolutions]: the spatial mean of each convolution.

  An input smaller than the kernel takes a kernel of its own size and stride 1; a convolution that no
  longer fits is left out.
  """
  side = min(activations.shape[1:3].as_list())
  stride = 2 if side >= kernel_size else 1
  kernel_size = min(kernel_size, side)
  means = []
  x = activations
  with tf.variable_scope('features'):
    for number in range(1, depth + 1):
      if min(x.shape[1:3].as_list()) < kernel_size:
        break
      x = layers.conv2d(x, channels, kernel_size, f'layer_{number}', stride if number < depth else 1)
      rectified = tf.nn.relu(x)
      means.append(tf.reduce_mean(rectified if nonlinear else x, [1, 2]))
      x = rectified
  return tf.concat(means, axis=-1)
