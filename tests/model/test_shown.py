"""What is shown of a task is what the model has computed."""

from __future__ import annotations

import numpy as np
import pytest
import small_models
import tensorflow.compat.v1 as tf

from hypertransformer.model import shown

KINDS = {
  'joint': {},
  'with a decoder': {'use_decoder': True},
  'separate': {'generator': 'separate'},
  'output': {'allocation': 'output', 'generate_bias': True, 'warmup_heads': 'generated'},
}


@pytest.fixture
def rng() -> np.random.Generator:
  return np.random.default_rng(4)


@pytest.mark.parametrize('kind', KINDS)
def test_a_task_is_shown(rng: np.random.Generator, kind: str) -> None:
  with tf.Graph().as_default(), tf.Session() as session:
    settings = small_models.config(**KINDS[kind])
    built = small_models.built(rng, settings)
    found = shown.of_task(
      built.model,
      built.support,
      built.query,
      tf.constant([0, 1, 2, 0]),
      built.weights,
      built.classified.logits,
    )
    session.run(tf.global_variables_initializer())
    used = {use.layer: use.value for use in built.classified.uses if 'kernel' in use.variable}
    values, logits, kernels = session.run((found, built.classified.logits, used))
  np.testing.assert_array_equal(values['predicted'], logits.argmax(-1))
  assert values['num_classes'] == small_models.K
  assert set(values['kernels']) == set(values['attention']) == set(kernels)
  for layer, kernel in kernels.items():
    np.testing.assert_array_equal(values['kernels'][layer], kernel)
  plans = {plan.name: plan for plan in (*built.model.plans, *built.model.heads)}
  for layer, blocks in values['attention'].items():
    assert len(blocks) == (2 if kind == 'with a decoder' else 1)
    for block in blocks:
      assert block.shape == (1, plans[layer].layout.num_blocks, 6)
      assert (block > 0).all()
      if kind == 'separate':
        np.testing.assert_allclose(block.sum(-1), 1.0, rtol=1e-5)
      else:  # a token looks at other weight tokens too
        assert (block.sum(-1) < 1.0).all()
