"""Prototypes and scores against NumPy loops."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.model import continual


def test_class_means_are_those_of_numpy(lab, rng):
  x, labels = rng.normal(size=(7, 3)).astype(np.float32), np.array([0, 3, 1, 0, 3, 3, 1])
  means = lab.run(continual.class_means(tf.constant(x), tf.constant(labels), 5))
  for label in (0, 1, 3):
    np.testing.assert_allclose(means[label], x[labels == label].mean(0), rtol=1e-6)
  assert not means[[2, 4]].any()


def by_hand(x: np.ndarray, c: np.ndarray) -> np.ndarray:
  return np.array(
    [[[-sum((f - p) ** 2) for p in own] for f in one] for one, own in zip(x, c, strict=True)]
  )


def test_scores_are_negative_squared_distances(lab, rng):
  x, c = rng.normal(size=(2, 4, 3)), rng.normal(size=(2, 5, 3))
  scores = lab.run(
    continual.prototype_scores(tf.constant(x, tf.float32), tf.constant(c, tf.float32))
  )
  np.testing.assert_allclose(scores, by_hand(x, c), rtol=1e-5, atol=1e-5)


def test_unknown_classes_are_never_chosen(lab, rng):
  x, c = rng.normal(size=(2, 4, 3)), rng.normal(size=(2, 5, 3))
  known = [2, 5]
  logits = continual.known_scores(
    tf.constant(x, tf.float32), tf.constant(c, tf.float32), tf.constant(known)
  )
  scores = lab.run(logits)
  for pair, count in enumerate(known):
    np.testing.assert_allclose(
      scores[pair, :, :count], by_hand(x, c)[pair, :, :count], rtol=1e-5, atol=1e-5
    )
  assert (scores[0, :, 2:] == continual.UNKNOWN).all()
  assert not lab.run(tf.nn.softmax(logits))[0, :, 2:].any()


@pytest.mark.parametrize('num', [1, 3])
def test_running_means_are_over_the_pieces_so_far(lab, rng, num):
  c = rng.normal(size=(num, num, 2, 4)).astype(np.float32)
  means = lab.run(continual.running_means(tf.constant(c)))
  for t in range(num):
    np.testing.assert_allclose(means[t], c[t, : t + 1].mean(0), rtol=1e-5, atol=1e-6)
