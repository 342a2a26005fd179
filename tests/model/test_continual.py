"""The Continual HyperTransformer against the HyperTransformer and against a loop in Python."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from small_sequences import (
  ADDED,
  CLASS,
  CORRECTION,
  PIECES,
  TASK,
  K,
  constant,
  cross_entropy,
  differing_in,
  draw,
  fed,
  feed,
  learn,
  model_of,
  variable_names,
)

from hypertransformer.model import continual
from hypertransformer.model.continual import TaskSequence
from hypertransformer.model.hypertransformer import HyperTransformer, Support
from hypertransformer.settings.config import CONTINUAL_METHODS
from hypertransformer.settings.model_config import FeatureConfig


@pytest.mark.parametrize(
  'settings',
  [
    {},
    CORRECTION,
    {'generator': 'separate'},
    {'allocation': 'output', 'features': FeatureConfig(layerwise=9)},
  ],
  ids=['spatial', 'added', 'separate', 'features wider than blocks'],
)
def test_the_first_task_is_the_hypertransformers(lab, settings, unrolled_up_to):
  """To the bit and with the same variables: theta_0 = 0 is where the HyperTransformer has zeros."""
  model, sequence = model_of(**settings), constant(draw(2))
  support = Support(sequence.support_images[0], sequence.support_labels[0])
  _, weights = model.support_outputs(model.generate(support))
  plain = model.used_blocks(weights)
  before = variable_names()
  outcome = learn(model, sequence)
  assert variable_names() == before
  assert set(outcome.weights) == set(plain) == {'layer_2', 'layer_3', 'layer_4'}
  lab.fill()
  ours, plain = lab.run((outcome.weights, plain))
  for name, blocks in plain.items():
    np.testing.assert_array_equal(ours[name][0], blocks)


def unrolled(model: HyperTransformer, sequence: TaskSequence, scenario: str) -> tf.Tensor:
  """Computes J of docs/spec/continual.md, section 1, task by task."""
  previous, prototypes, terms = None, [], []
  for t in range(sequence.support_images.shape[0]):
    labels = sequence.support_labels[t]
    weights = model.generate(Support(sequence.support_images[t], labels), previous=previous)
    outputs, weights = model.support_outputs(weights)
    previous = model.used_blocks(weights)
    prototypes.append(
      [tf.reduce_mean(tf.boolean_mask(outputs, tf.equal(labels, k)), 0) for k in range(K)]
    )
    for tau in range(1 if scenario == PIECES else t + 1):
      x = model.classify(sequence.query_images[tau], weights).logits
      own = {
        TASK: prototypes[tau],
        CLASS: [c for task in prototypes for c in task],
        PIECES: [sum(c) / (t + 1) for c in zip(*prototypes, strict=True)],
      }[scenario]
      scores = tf.stack([-tf.reduce_sum((x - c) ** 2, 1) for c in own], 1)
      terms.append(
        cross_entropy(scores, sequence.query_labels[tau] + (tau * K if scenario == CLASS else 0))
      )
  return tf.add_n(terms) / len(terms)


@pytest.mark.parametrize(
  ('scenario', 'settings'),
  [(CLASS, {}), (TASK, ADDED), (PIECES, {'generator': 'separate'}), (CLASS, CORRECTION)],
  ids=['class', 'task, added', 'pieces, separate', 'class, all added'],
)
def test_loss_and_gradients_are_those_of_an_unrolled_loop(lab, scenario, settings, monkeypatch):
  monkeypatch.setattr(continual, 'UNROLLED_SCAN', 0)
  monkeypatch.setattr(continual, 'UNROLLED_MAP', 0)
  model, sequence = model_of(**settings), constant(draw(3, scenario == PIECES))
  outcome = learn(model, sequence, scenario)
  losses = [cross_entropy(outcome.logits, outcome.labels), unrolled(model, sequence, scenario)]
  variables = tf.trainable_variables()
  gradients = [[tf.convert_to_tensor(g) for g in tf.gradients(loss, variables)] for loss in losses]
  lab.fill()
  (ours, by_loop), (own, other) = lab.run((losses, gradients))
  assert ours == pytest.approx(by_loop, rel=1e-5)
  largest = max(np.abs(g).max() for g in other)
  for variable, one, expected in zip(variables, own, other, strict=True):
    np.testing.assert_allclose(
      one, expected, rtol=1e-3, atol=1e-5 * largest, err_msg=variable.op.name
    )


def test_the_gradient_of_the_last_task_reaches_all_generators_through_the_first(lab):
  """The loss after task 3 depends on the support images of task 1.

  Its gradient with respect to them can only go through theta.
  """
  model, places = model_of(), fed(draw(3))
  outcome = learn(model, places, TASK)
  last = [p for p, pair in enumerate(outcome.pairs) if pair == (2, 2)]
  loss = cross_entropy(tf.gather(outcome.logits, last), tf.gather(outcome.labels, last))
  (to_images,) = tf.gradients(loss, [places.support_images])
  variables = [v for v in tf.trainable_variables() if 'generator' in v.op.name]
  gradients = [tf.convert_to_tensor(g) for g in tf.gradients(loss, variables)]
  lab.fill()
  to_images, gradients = lab.run((to_images, gradients), feed(places, draw(3)))
  for task in range(3):
    assert np.abs(to_images[task]).max() > 1e-7
  assert [
    v.op.name for v, g in zip(variables, gradients, strict=True) if not np.abs(g).max() > 0
  ] == []


def test_what_is_kept_of_a_task_does_not_depend_on_later_ones(lab):
  first, changed = differing_in(1)
  places = fed(first)
  outcome = learn(model_of(), places)
  lab.fill()
  fetches = outcome.prototypes, outcome.weights, outcome.logits
  (c, weights, logits), (other_c, other_weights, other_logits) = (
    lab.run(fetches, feed(places, values)) for values in (first, changed)
  )
  np.testing.assert_array_equal(c[0], other_c[0])
  np.testing.assert_array_equal(logits[0], other_logits[0])
  assert np.abs(c[1] - other_c[1]).max() > 1e-3
  for name, blocks in weights.items():
    np.testing.assert_array_equal(blocks[0], other_weights[name][0])
    assert np.abs(blocks[1] - other_weights[name][1]).max() > 1e-3


def size_of_graph(length: int, method: str) -> int:
  with tf.Graph().as_default() as graph:
    outcome = learn(model_of(), constant(draw(length)), CLASS, method)
    tf.gradients(cross_entropy(outcome.logits, outcome.labels), tf.trainable_variables())
    definition = graph.as_graph_def()
  return len(definition.node) + sum(
    len(function.node_def) for function in definition.library.function
  )


@pytest.mark.parametrize('method', CONTINUAL_METHODS)
def test_the_graph_does_not_grow_with_the_number_of_tasks(method):
  # Both are longer than sequences that are unrolled.
  assert size_of_graph(20, method) <= size_of_graph(7, method) + 5
