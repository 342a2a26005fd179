"""The methods that the Continual HyperTransformer is compared with: merged, constant ProtoNet."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from small_sequences import (
  CLASS,
  MERGED,
  PROTONET,
  SIDE,
  K,
  constant,
  draw,
  learn,
  model_of,
  variable_names,
)

from hypertransformer.errors import InputError
from hypertransformer.model import continual
from hypertransformer.model.hypertransformer import Support
from hypertransformer.model.layers import Noise


def test_the_merged_one_is_a_hypertransformer_of_all_support_sets(lab):
  model, sequence = model_of(), constant(draw(3))
  outcome = learn(model, sequence, CLASS, MERGED)
  plain = [
    model.generate(
      Support(
        tf.reshape(sequence.support_images[: t + 1], [-1, SIDE, SIDE, 1]),
        tf.reshape(sequence.support_labels[: t + 1], [-1]),
      )
    ).layers
    for t in range(3)
  ]
  lab.fill()
  ours, plain = lab.run(
    (outcome.weights, [{name: w.blocks for name, w in one.items()} for one in plain])
  )
  for t, expected in enumerate(plain):
    for name, blocks in expected.items():
      np.testing.assert_allclose(ours[name][t], blocks, rtol=1e-4, atol=1e-5)


def test_the_merged_one_tells_the_classes_of_all_tasks_apart(lab):
  """If its generators have numbers for so many, class k of task t has the number t * K + k."""
  model, sequence = model_of(support_classes=3 * K), constant(draw(2))
  outcome = learn(model, sequence, CLASS, MERGED)
  labels = tf.reshape(sequence.support_labels + K * np.arange(2, dtype=np.int32)[:, None], [-1])
  plain = model.generate(
    Support(tf.reshape(sequence.support_images, [-1, SIDE, SIDE, 1]), labels)
  ).layers
  lab.fill()
  ours, plain = lab.run((outcome.weights, {name: w.blocks for name, w in plain.items()}))
  for name, blocks in plain.items():
    np.testing.assert_allclose(ours[name][1], blocks, rtol=1e-4, atol=1e-5)


def test_the_merged_one_is_trained_on_all_its_class_numbers(lab):
  """In training the numbers of the classes are drawn from all that there are.

  Samples of one class share a number, samples of other classes do not.
  """
  labels = tf.constant([0, 1, 2, 0, 1, 2])
  model = model_of(support_classes=5 * K)
  shown = lab.run(
    [
      continual.sequence_class_numbers(labels, model, Noise(tf.constant([1, seed])))
      for seed in range(40)
    ]
  )
  assert {label for one in shown for label in one} == set(range(5 * K))
  for one in shown:
    np.testing.assert_array_equal(one[:3], one[3:])
    assert len(set(one)) == 3


def test_the_merged_one_refuses_more_classes_than_it_has(lab):
  with pytest.raises(InputError, match='num_tasks'):
    learn(model_of(support_classes=2 * K), constant(draw(3)), CLASS, MERGED)


def test_the_constant_protonet_generates_nothing(lab):
  outcome = learn(model_of(), constant(draw(2)), CLASS, PROTONET)
  assert outcome.weights == {}
  assert all(name.startswith('model/cnn/layer_') for name in variable_names())
  assert {use.source for use in outcome.uses} == {'trained'}
  lab.fill()
  assert lab.run(outcome.logits).shape == (3, 3 * K, 2 * K)
