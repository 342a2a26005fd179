"""Prototypes and scores after each task, for all methods and scenarios, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from small_sequences import (
  ADDED,
  CHT,
  CLASS,
  MERGED,
  PIECES,
  TASK,
  K,
  constant,
  draw,
  learn,
  model_of,
)

from hypertransformer.model.continual import UNKNOWN
from hypertransformer.settings.config import CONTINUAL_METHODS, CONTINUAL_SCENARIOS


@pytest.mark.parametrize('method', CONTINUAL_METHODS)
@pytest.mark.parametrize('scenario', CONTINUAL_SCENARIOS)
def test_scores_are_those_by_hand(lab, scenario, method, unrolled_up_to):
  """Given the weights after each task, with prototypes and distances in NumPy."""
  values = draw(3, scenario == PIECES)
  model, sequence = model_of(**ADDED), constant(values)
  outcome = learn(model, sequence, scenario, method)

  def embed(images: tf.Tensor, t: int) -> tf.Tensor:
    return model.classify(
      images, model.with_blocks({name: w[t] for name, w in outcome.weights.items()})
    ).logits

  queries = [
    [embed(sequence.query_images[tau], t) for tau in range(len(values.query_images))]
    for t in range(3)
  ]
  if method == MERGED:  # all made anew, each support set as a batch by itself
    supports = [[embed(sequence.support_images[tau], t) for tau in range(t + 1)] for t in range(3)]
  else:
    supports = [embed(sequence.support_images[t], t) for t in range(3)]
  lab.fill()
  logits, labels, kept, queries, supports = lab.run(
    (outcome.logits, outcome.labels, outcome.prototypes, queries, supports)
  )

  def prototype(t: int, tau: int, k: int) -> np.ndarray:
    """c[tau, k] as known after task t."""
    outputs = supports[t][tau] if method == MERGED else supports[tau]
    return outputs[values.support_labels[tau] == k].mean(0)

  assert outcome.pairs == (
    [(0, 0), (1, 0), (2, 0)]
    if scenario == PIECES
    else [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]
  )
  for pair, (t, tau) in enumerate(outcome.pairs):
    own = {
      TASK: lambda t=t, tau=tau: [prototype(t, tau, k) for k in range(K)],
      CLASS: lambda t=t: [prototype(t, task, k) for task in range(t + 1) for k in range(K)],
      PIECES: lambda t=t: [
        np.mean([prototype(t, j, k) for j in range(t + 1)], 0) for k in range(K)
      ],
    }[scenario]()
    expected = [[-np.sum((x - c) ** 2) for c in own] for x in queries[t][tau]]
    np.testing.assert_allclose(logits[pair][:, : len(own)], expected, rtol=2e-4, atol=2e-4)
    assert (logits[pair][:, len(own) :] == UNKNOWN).all()
    np.testing.assert_array_equal(
      labels[pair], values.query_labels[tau] + (tau * K if scenario == CLASS else 0)
    )
  by_hand = [[prototype(2, tau, k) for k in range(K)] for tau in range(3)]
  np.testing.assert_allclose(kept, by_hand, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize('method', [CHT, MERGED])
def test_cross_entropy_has_the_cnns_logits(lab, method):
  model, sequence = model_of(embedding_units=0), constant(draw(2, pieces=True))
  outcome = learn(model, sequence, PIECES, method, loss='cross_entropy')
  assert outcome.prototypes is None
  expected = [
    model.classify(
      sequence.query_images[0],
      model.with_blocks({name: w[t] for name, w in outcome.weights.items()}),
    ).logits
    for t in range(2)
  ]
  lab.fill()
  ours, expected = lab.run((outcome.logits, expected))
  np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)
