"""The mask that hides support samples at random."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.model import generator
from hypertransformer.model.layers import Noise
from hypertransformer.settings.model_config import ModelConfig

STEPS, SAMPLES = 1500, 40
LABELS = np.array([0, 1, 2, 3] * (SAMPLES // 4))  # K = 3: every fourth sample has no label
UNLABELED = LABELS == 3


def masks(lab, labeled: float, unlabeled: float) -> np.ndarray:
  """Draws the masks of all steps, each with its own seed; [steps, samples]."""
  seed = tf.placeholder(tf.int64, [2])
  config = ModelConfig(
    num_labels=3, max_prob_remove_labeled=labeled, max_prob_remove_unlabeled=unlabeled
  )
  mask = generator.removal_mask(tf.constant(LABELS), config, Noise(seed))
  step = lab.session.make_callable(mask, [seed])
  return np.stack([step([9, number]) for number in range(STEPS)])


def test_nothing_is_hidden_where_the_noise_is_off(lab):
  config = ModelConfig(num_labels=3, max_prob_remove_labeled=1.0, max_prob_remove_unlabeled=1.0)
  noise = Noise(tf.constant([1, 2]), on=tf.constant(0.0))
  assert not lab.run(generator.removal_mask(tf.constant(LABELS), config, noise)).any()


def test_no_mask_where_nothing_is_removed():
  assert (
    generator.removal_mask(tf.constant([0, 1]), ModelConfig(), Noise(tf.constant([1, 2]))) is None
  )


@pytest.mark.parametrize(('labeled', 'unlabeled'), [(0.6, 0.0), (0.0, 0.9), (0.4, 1.0)])
def test_the_share_of_hidden_samples_is_as_expected(lab, labeled, unlabeled):
  """On average a share p / 2 is hidden: q ~ U(0, p) once per step, and each sample with q.

  Between steps the share varies with a standard deviation of p / sqrt(12) from q, and of sqrt(E[q
  (1 - q)] / n) from the n samples.
  """
  drawn = masks(lab, labeled, unlabeled)
  assert set(np.unique(drawn)) <= {0.0, 1.0}
  assert drawn.dtype == np.float32
  for p, group in ((labeled, ~UNLABELED), (unlabeled, UNLABELED)):
    shares = drawn[:, group].mean(1)
    variance = p**2 / 12 + (p / 2 - p**2 / 3) / group.sum()
    assert abs(shares.mean() - p / 2) <= 4 * (variance / STEPS) ** 0.5
    assert abs(shares.std() - variance**0.5) <= 0.1 * variance**0.5
  assert drawn[:, UNLABELED].any() == (unlabeled > 0)
  assert drawn[:, ~UNLABELED].any() == (labeled > 0)


def test_the_two_probabilities_are_drawn_apart(lab):
  drawn = masks(lab, 1.0, 1.0)
  assert abs(np.corrcoef(drawn[:, UNLABELED].mean(1), drawn[:, ~UNLABELED].mean(1))[0, 1]) < 0.1


def test_the_mask_follows_from_the_seed(lab):
  config = ModelConfig(num_labels=3, max_prob_remove_labeled=0.9)
  one, same, other = lab.run(
    [
      generator.removal_mask(tf.constant(LABELS), config, Noise(tf.constant(seed)))
      for seed in ([1, 2], [1, 2], [1, 3])
    ]
  )
  np.testing.assert_array_equal(one, same)
  assert (one != other).any()
