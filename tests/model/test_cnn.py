"""The CNN's plan, worked out on paper, and what its layers compute, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.errors import InputError
from hypertransformer.model import cnn
from hypertransformer.model.cnn import LayerPlan
from hypertransformer.model.layers import Noise
from hypertransformer.settings.model_config import ModelConfig


def outputs(config: ModelConfig, side: int, channels: int = 1) -> list[tuple[int, ...]]:
  return [plan.output_shape for plan in cnn.plan_layers(config, (side, side, channels))]


@pytest.mark.parametrize(
  ('name', 'side', 'settings', 'expected'),
  [  # sides are halved by the stride, rounding up, and then by pooling
    ('3-layer', 28, {}, [13, 6, 2]),  # golden a04
    ('4-layer', 32, {'stride': 2, 'kernel_size': 2}, [16, 8, 4, 2]),
    ('4-layer', 9, {'stride': 1}, [7, 5, 3, 1]),
    ('3-layer', 15, {}, [7, 3, 1]),  # the smallest for stride 2
    ('maxpool-4-layer', 28, {'stride': 1}, [14, 7, 3, 1]),  # golden a11
    ('maxpool-4-layer', 84, {'stride': 1}, [42, 21, 10, 5]),
    ('maxpool-4-layer', 225, {'stride': 2}, [56, 14, 3, 1]),
  ],
)
def test_output_shapes_of_the_layers(name, side, settings, expected):
  config = ModelConfig(cnn_name=name, channels=5, **settings)
  assert outputs(config, side) == [*((s, s, 5) for s in expected), (4,)]


@pytest.mark.parametrize(
  ('name', 'side', 'settings', 'number', 'sees'),
  [
    ('3-layer', 14, {}, 3, 2),
    ('3-layer', 2, {}, 1, 2),
    ('4-layer', 8, {'stride': 1}, 4, 2),
    ('maxpool-4-layer', 15, {'stride': 1}, 4, 1),
    ('maxpool-4-layer', 28, {}, 3, 2),
  ],
)
def test_images_that_are_too_small_are_refused(name, side, settings, number, sees):
  with pytest.raises(InputError) as caught:
    outputs(ModelConfig(cnn_name=name, **settings), side)
  for part in ('image_size', f'cnn_model_name={name}', f'{number} would be {sees} x {sees}'):
    assert part in str(caught.value)


def test_dropout_is_before_the_logits_and_in_training_only(lab):
  plan = LayerPlan('layer_4', 'generator_4', True, (1, 1, 400), (4,), None)
  with tf.variable_scope('', reuse=tf.AUTO_REUSE):
    y = [
      cnn.logits(plan, tf.ones([1, 1, 1, 400]), ModelConfig(cnn_dropout_rate=rate), noise)
      for rate, noise in (
        (0.0, Noise(tf.constant([1, 2]))),
        (0.25, None),
        (0.25, Noise(tf.constant([1, 2]))),
      )
    ]
  lab.fill(kernel=1.0, bias=0.0)
  off, evaluation, training = lab.run(y)
  np.testing.assert_array_equal(off, 400)
  np.testing.assert_array_equal(evaluation, 400)
  assert len(np.unique(training)) == 1  # the inputs are dropped, not the logits
  kept = training[0, 0] * 0.75
  assert abs(kept - round(kept)) < 1e-3
  assert 260 < kept < 340  # 300 +- 4 standard deviations
