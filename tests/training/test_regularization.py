"""The terms of both regularisations: which tensors count, and that each counts once."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.model.getter import BOTH, GENERATED, TRAINED, Row
from hypertransformer.model.hypertransformer import HyperTransformer, Support
from hypertransformer.settings.model_config import ModelConfig, TransformerConfig
from hypertransformer.training import regularization


@pytest.fixture(autouse=True)
def session():
  with tf.Graph().as_default(), tf.Session() as own:
    yield own


def row(
  source: str,
  variable: str,
  generated=None,
  trained=None,
  layer: str = 'layer_1',
  scope: str = 'cnn',
) -> Row:
  """What the getter gives: a tensor that is generated, trained, or both."""
  made = None if generated is None else tf.constant(generated)
  own = None
  if trained is not None:
    with tf.variable_scope('model', reuse=tf.AUTO_REUSE):
      own = tf.get_variable(f'{scope}/{layer}/{variable}', initializer=tf.constant(trained))
  value = {GENERATED: made, TRAINED: own, BOTH: made + own if source == BOTH else None}[source]
  return Row(layer, variable, tuple(value.shape.as_list()), source, value, made, own)


def values(session, terms) -> list[float]:
  session.run(tf.global_variables_initializer())
  return [float(term) for term in session.run(terms)]


def test_l2_terms_are_those_by_hand(session):
  """They are 0.5 * sum(w^2), for kernels only; generated and trained parts are added first."""
  rows = [
    row(GENERATED, 'conv/kernel', [1.0, 2.0]),
    row(TRAINED, 'conv/bias', trained=[9.0]),
    row(TRAINED, 'conv/kernel', trained=[3.0], layer='layer_2'),
    row(BOTH, 'logits/kernel', [1.0, -2.0], [1.0, 1.0], 'layer_3'),
    row(BOTH, 'logits/bias', [1.0], [1.0], 'layer_3'),
  ]
  assert values(session, regularization.l2_terms(rows, 0.5)) == [2.5, 4.5, 2.5]


def test_l2_counts_each_tensor_once(session):
  """The query pass uses the same tensors again. If it has trained ones of its own, they count."""
  passes = [
    [
      row(GENERATED, 'conv/kernel', [1.0]),
      row(TRAINED, 'conv/kernel', trained=[2.0], layer='layer_2', scope=s),
    ]
    for s in ('cnn', 'cnn', 'cnn_query')
  ]
  assert values(session, regularization.l2_terms(passes[0] + passes[1], 1.0)) == [1.0, 4.0]
  assert values(
    session, regularization.l2_terms([used for one in passes for used in one], 1.0)
  ) == [1.0, 4.0, 4.0]


def test_an_added_kernel_counts_as_the_support_pass_uses_it_in_l2(session):
  """So it is if the query pass adds a variable of its own, as in shared/golden/b03.npz."""
  passes = [
    row(BOTH, 'conv/kernel', [1.0], [value], scope=s)
    for s, value in (('cnn', 2.0), ('cnn_query', 5.0))
  ]
  assert values(session, regularization.l2_terms(passes, 1.0)) == [9.0]
  assert len(regularization.variation_terms(passes, 1.0)) == 2


def test_variation_terms_are_those_by_hand(session):
  """They are 0.1 * sum(generated^2) / (1e-8 + sum(trained^2)), for all tensors but logits."""
  rows = [
    row(BOTH, 'conv/kernel', [2.0, 4.0], [1.0, 2.0]),
    row(BOTH, 'batch_norm/gamma', [1.0], [2.0]),
    row(GENERATED, 'conv/bias', [7.0]),
    row(TRAINED, 'batch_norm/beta', trained=[7.0]),
    row(BOTH, 'logits/kernel', [5.0], [1.0], 'layer_2'),
    row(BOTH, 'logits/bias', [5.0], [1.0], 'head_1'),
    row(BOTH, 'conv/kernel', [2e-4], [0.0], 'layer_2'),
  ]
  terms = regularization.variation_terms(rows + rows, 0.1)
  np.testing.assert_allclose(
    values(session, terms), [0.1 * 20 / 5, 0.1 / 4, 0.1 * 4e-8 / 1e-8], rtol=1e-5
  )


def test_no_terms_without_weight():
  rows = [row(BOTH, 'conv/kernel', [2.0], [1.0])]
  assert regularization.l2_terms(rows, 0.0) == []
  assert regularization.variation_terms(rows, 0.0) == []


@pytest.mark.parametrize(
  ('added', 'trained_layers', 'separate'),
  [(False, 1, False), (True, 0, False), (False, 1, True), (True, 0, True)],
)
def test_all_kernels_of_a_model_count(session, added, trained_layers, separate):
  """There are three convolutions, two heads and the logits, however often the CNN is run."""
  config = ModelConfig(
    num_labels=2,
    kernel_size=2,
    channels=2,
    embedding_dim=2,
    warmup_heads='trained',
    add_trainable_weights=added,
    trained_layers=trained_layers,
    separate_query_variables=separate,
    transformer=TransformerConfig(1, 1),
  )
  model = HyperTransformer(config, (8, 8, 1))
  weights = model.generate(Support(tf.ones([2, 8, 8, 1]), tf.constant([0, 1])))
  rows = weights.rows + [
    row for _ in range(3) for row in model.classify(tf.ones([3, 8, 8, 1]), weights).rows
  ]
  terms = regularization.l2_terms(rows, 2.0)
  assert len(terms) == 6 + (separate and trained_layers)
  variation = regularization.variation_terms(rows, 0.1)
  assert len(variation) == (6 if added and separate else 3 if added else 0)
  session.run(tf.global_variables_initializer())
  of_support = {(row.layer, row.variable) for row in weights.rows if row.generated is not None}
  kernels = {
    (row.layer, row.value): row.value
    for row in rows
    if row.variable.endswith('kernel')
    and (row in weights.rows or (row.layer, row.variable) not in of_support)
  }
  ours, kernels = session.run((terms, list(kernels.values())))
  np.testing.assert_allclose(
    sorted(ours), sorted(2 * np.sum(kernel**2.0) for kernel in kernels), rtol=1e-5
  )
