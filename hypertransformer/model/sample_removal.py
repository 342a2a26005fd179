"""Hides support samples at random in training.

See docs/spec/model.md, section 5, "Hiding support samples".
"""

from __future__ import annotations

import tensorflow.compat.v1 as tf

from hypertransformer.model.noise import Noise
from hypertransformer.settings.model_config import ModelConfig


def removal_mask(labels: tf.Tensor, config: ModelConfig, noise: Noise) -> tf.Tensor | None:
  """Draws which support samples the generators must ignore in a training step.

  Two probabilities are drawn for the step, one for samples with a label and one for samples
  without: each is uniform between 0 and the largest value that the settings allow. Then each sample
  is hidden with the probability of its kind.

  Args:
    labels: Integers [Ns]; K means "no label".
    config: The model's settings.
    noise: Random numbers of the step.

  Returns:
    float32 [Ns], 1 for a hidden sample; None if the settings never hide any.
  """
  if config.max_prob_remove_labeled == 0 and config.max_prob_remove_unlabeled == 0:
    return None
  limits = tf.constant([config.max_prob_remove_labeled, config.max_prob_remove_unlabeled])
  q = noise.if_on(limits * noise.uniform([2]))
  unlabeled = tf.cast(tf.equal(labels, config.num_labels), tf.int32)
  return tf.cast(noise.uniform(tf.shape(labels)) < tf.gather(q, unlabeled), tf.float32)
