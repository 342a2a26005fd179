"""Which queries of a sequence are asked, in which batches, and with which dropout."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from small_sequences import (
  ADDED,
  CLASS,
  MERGED,
  PIECES,
  PROTONET,
  SIDE,
  TASK,
  UNITS,
  K,
  constant,
  draw,
  learn,
  model_of,
)

from hypertransformer.model import continual
from hypertransformer.model.continual import TaskSequence
from hypertransformer.model.layers import Noise
from hypertransformer.settings.config import CONTINUAL_METHODS, CONTINUAL_SCENARIOS, ContinualConfig


@pytest.mark.parametrize('method', CONTINUAL_METHODS)
@pytest.mark.parametrize('scenario', CONTINUAL_SCENARIOS)
def test_queries_after_the_last_task_alone_are_the_end_of_all(lab, scenario, method):
  model, sequence = model_of(**ADDED), constant(draw(3, pieces=scenario == PIECES))
  config = ContinualConfig(scenario, method)
  every = continual.learn_sequence(model, sequence, config)
  last = continual.learn_sequence(model, sequence, config, last_only=True)
  assert last.pairs == [(t, tau) for t, tau in every.pairs if t == 2]
  lab.fill()
  every, last = lab.run(((every.logits, every.labels), (last.logits, last.labels)))
  for one, other in zip(every, last, strict=True):
    np.testing.assert_allclose(other, one[-len(other) :], rtol=1e-5, atol=1e-5)


def test_mixed_batches_have_images_of_every_task():
  after = np.array([0, 1, 1, 2, 2, 2])
  of = np.array([0, 0, 1, 0, 1, 2])
  batches = of[:, None] * 10 + np.arange(10)
  mixed, places = continual.mixed_batches(after, batches)
  np.testing.assert_array_equal(mixed.reshape(-1)[places], batches)
  for t in range(3):
    assert sorted(mixed[after == t].reshape(-1)) == list(range((t + 1) * 10))
    for batch in mixed[after == t]:
      shares = np.bincount(batch // 10, minlength=t + 1)
      assert shares.max() - shares.min() <= 1


@pytest.mark.parametrize('method', CONTINUAL_METHODS)
def test_mixed_queries_are_those_of_batches_by_hand(lab, method, unrolled_up_to):
  model, sequence = model_of(**ADDED), draw(2)
  outcome = learn(model, constant(sequence), CLASS, method, mixed_queries=True)
  own = learn(model, constant(sequence), CLASS, method)
  both = sequence.query_images.reshape(-1, SIDE, SIDE, 1)
  # Images 0, 2, .. of each task, turn and turn about, then 1, 3, ..
  order = [
    9 * task + number for start in (0, 1) for number in range(start, 9, 2) for task in (0, 1)
  ]
  weights = model.with_blocks({name: w[1] for name, w in outcome.weights.items()})
  by_hand = [
    model.classify(tf.constant(both[order[part]]), weights).logits
    for part in (slice(0, 9), slice(9, 18))
  ]
  known = tf.reshape(outcome.prototypes, [2 * K, UNITS])
  lab.fill()
  ours, plain, by_hand, known = lab.run((outcome.logits, own.logits, by_hand, known))
  outputs = np.empty((18, UNITS))
  outputs[order] = np.concatenate(by_hand)
  scores = -((outputs[:, None] - known[None]) ** 2).sum(-1)
  np.testing.assert_allclose(ours[1:].reshape(18, 2 * K), scores, rtol=1e-4, atol=1e-4)
  # After one task there is nothing to mix.
  np.testing.assert_allclose(ours[0, :, :K], plain[0, :, :K], rtol=1e-5, atol=1e-5)
  assert np.abs(ours[1:] - plain[1:]).max() > 1e-2


def repeated(sequence: TaskSequence) -> TaskSequence:
  """Returns a sequence whose two tasks are the first task of this one."""
  return TaskSequence(
    *(
      np.stack([x[0], x[0]])
      for x in (getattr(sequence, f.name) for f in dataclasses.fields(sequence))
    )
  )


@pytest.mark.parametrize('method', [PROTONET, MERGED])
def test_dropout_is_drawn_anew_for_every_task_and_query_set(lab, method):
  """Two equal tasks are learned, which without dropout have equal scores after the second."""
  model, sequence = model_of(cnn_dropout_rate=0.5), constant(repeated(draw(1)))
  config = ContinualConfig(TASK, method)
  plain, same = (continual.learn_sequence(model, sequence, config).logits for _ in range(2))
  noisy = continual.learn_sequence(model, sequence, config, Noise(tf.constant([1, 2]))).logits
  lab.fill()
  plain, same, noisy = lab.run((plain, same, noisy))
  np.testing.assert_array_equal(plain, same)
  # The same queries after task 2:
  np.testing.assert_allclose(plain[1], plain[2], rtol=1e-5, atol=1e-5)
  assert np.abs(noisy[1] - noisy[2]).max() > 1e-3
  assert np.abs(noisy[1] - plain[1]).max() > 1e-3
