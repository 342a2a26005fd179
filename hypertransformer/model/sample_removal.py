"""Hiding support samples at random in training (spec/model.md section 5,
max_prob_remove_(un)labeled).
"""

from __future__ import annotations

import tensorflow.compat.v1 as tf

from hypertransformer.model.noise import Noise
from hypertransformer.settings.model_config import ModelConfig


def removal_mask(labels: tf.Tensor, config: ModelConfig, noise: Noise) -> tf.Tensor | None:
  """labels int [Ns] (K = no label) -> float mask [Ns], 1 = ignore, or None when nothing is ever
  removed.

  Once per step a probability q ~ U(0, max_prob) is drawn for the labelled samples and one for the
  unlabelled; then each sample is dropped with its q.
  """
  if config.max_prob_remove_labeled == 0 and config.max_prob_remove_unlabeled == 0:
    return None
  limits = tf.constant([config.max_prob_remove_labeled, config.max_prob_remove_unlabeled])
  q = noise.rate(limits * noise.uniform([2]))
  unlabeled = tf.cast(tf.equal(labels, config.num_labels), tf.int32)
  return tf.cast(noise.uniform(tf.shape(labels)) < tf.gather(q, unlabeled), tf.float32)
