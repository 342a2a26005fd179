"""The gradient of the loss through the generators and the CNN that they write."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from small_models import config

from hypertransformer.checkpoint_conversion import names
from hypertransformer.settings.model_config import FeatureConfig
from hypertransformer.training import losses


@pytest.mark.parametrize(
  'settings',
  [
    {},
    {
      'generator': 'separate',
      'allocation': 'output',
      'features': FeatureConfig('2-layer', shared_dim=3),
    },
  ],
  ids=['joint', 'separate'],
)
def test_the_gradient_reaches_every_variable(lab, build, settings):
  built = build(config(**settings))
  loss = losses.cross_entropy(built.classified.logits, tf.constant([0, 1, 2, 0]))
  variables = tf.trainable_variables()
  gradients = [tf.convert_to_tensor(gradient) for gradient in tf.gradients(loss, variables)]
  lab.fill()
  found = dict(zip((v.op.name for v in variables), lab.run(gradients), strict=True))
  sizes = {name: np.abs(gradient).max() for name, gradient in names.separate_vectors(found).items()}
  assert not {name for name, size in sizes.items() if size < 1e-9}
  assert len([name for name in sizes if 'generator_' in name]) > 60


def test_the_gradient_is_the_slope(lab, build):
  """For each generator's variables, a difference quotient along the gradient is its length.

  The gradient of the first generators goes through later ones, too: these see activations that the
  weights of the first have made.
  """
  built = build(config())
  loss = losses.cross_entropy(built.classified.logits, tf.constant([0, 1, 2, 0]))
  variables = {v.op.name: v for v in tf.trainable_variables()}
  gradients = dict(
    zip(
      variables,
      [tf.convert_to_tensor(gradient) for gradient in tf.gradients(loss, list(variables.values()))],
      strict=True,
    )
  )
  v = names.join_vectors(lab.fill())
  gradients = lab.run(gradients)

  def loss_at(along: dict[str, np.ndarray], step: float) -> float:
    lab.load({name: v[name] + np.float32(step) * direction for name, direction in along.items()})
    return float(lab.run(loss))

  for number in range(1, 5):
    own = {
      name: g for name, g in gradients.items() if name.startswith(f'model/generator_{number}/')
    }
    length = sum(np.sum(g**2.0) for g in own.values()) ** 0.5
    along = {name: g / np.float32(length) for name, g in own.items()}
    slope = (loss_at(along, 0.0005) - loss_at(along, -0.0005)) / 0.001
    assert slope == pytest.approx(length, rel=0.03)
    lab.load({name: v[name] for name in own})
