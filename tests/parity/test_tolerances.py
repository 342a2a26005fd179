"""Which errors pass, and how errors of tensors and gradients are measured."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.parity import tolerances
from tests.parity.tolerances import LIMITS

SMALL, A01, A02, A03 = LIMITS
KINDS = {
  'out/weights/1': 1e-4,
  'out/layer/2': 1e-4,
  'out/logits': 1e-4,
  'out/eval_logits': 1e-4,
  'out/test_logits': 1e-4,
  'out/head_logits/1': 1e-4,
  'out/loss': 1e-5,
  'out/ce': 1e-5,
  'out/ce_terms': 1e-5,
  'out/reg': 1e-5,
  'out/reg_terms': 2e-5,
  'out/shared_head_loss': 1e-5,
  'out/shared_features': 1e-5,
  'out/eval_accuracy': 1e-5,
}


def array(*numbers: float) -> np.ndarray:
  return np.array(numbers, np.float32)


@pytest.mark.parametrize(
  ('arrays', 'expected'),
  [
    ({'in/query_images': (12, 28, 28, 1)}, SMALL),
    ({'in/query_images': (12, 32, 32, 1)}, SMALL),  # a05
    ({'in/query_images': (60, 28, 28, 1)}, A01),
    ({'in/query_images': (100, 28, 28, 1)}, A02),
    ({'in/query_images_u8': (40, 84, 84, 3)}, A03),
    ({'in/support_images': (8, 28, 28, 1)}, SMALL),  # a22 has no query
    ({'in/support_images': (100, 84, 84, 3), 'in/query_images': (2, 28, 28, 1)}, SMALL),
  ],
)
def test_limits_go_by_the_pixels_of_the_query(arrays, expected):
  assert (
    tolerances.limits({key: np.zeros(shape, np.uint8) for key, shape in arrays.items()}) is expected
  )


@pytest.mark.parametrize(('key', 'allowed'), KINDS.items())
def test_the_error_is_scaled_by_the_largest_entry(key, allowed):
  expected = array(1, -50, 3)
  for factor, passes in ((0.9, True), (1.2, False)):
    result = tolerances.compare(key, expected + array(0, 0, 50 * allowed * factor), expected, SMALL)
    assert result.allowed == allowed
    assert result.error == pytest.approx(allowed * factor, rel=0.1)
    assert result.passed == passes
    assert (result.severity > 1) != passes


def test_warmup_weights_are_compared_absolutely():
  result = tolerances.compare('out/warmup_weights', array(0, 100), array(0, 100.0001), SMALL)
  assert (result.error, result.allowed) == (pytest.approx(1e-4, rel=0.3), 1e-6)


@pytest.mark.parametrize(
  ('ours', 'note'),
  [
    (array(1), 'shape (1,), expected (2,)'),
    (array(1, np.nan), 'not finite'),
    (array(np.inf, 1), 'not finite'),
  ],
)
def test_other_shapes_and_infinite_numbers_fail(ours, note):
  result = tolerances.compare('out/logits', ours, array(1, 2), SMALL)
  assert (result.passed, result.severity, result.note) == (False, math.inf, note)
  assert str(result) == f'out/logits: {note}'


def test_gradients_are_scaled_by_the_largest_of_the_case():
  expected = {'a': array(100, 0), 'b': array(1e-3)}
  ours = {'a': array(100, 0), 'b': array(2e-3)}  # wrong by 1e-3, which is nothing beside 100
  assert all(result.passed for result in tolerances.compare_gradients(expected, ours, SMALL))
  ours['b'] = array(0.031)  # 3e-4 of 100
  a, b, together = tolerances.compare_gradients(expected, ours, SMALL)
  assert (a.key, a.error, b.key, together.key) == ('grad/a', 0.0, 'grad/b', 'grad/ (all together)')
  assert b.error == pytest.approx(3e-4, rel=1e-4)
  assert together.error == pytest.approx(0.03 / 100, rel=1e-4)
  assert (b.passed, together.passed) == (False, False)


@pytest.mark.parametrize(
  'ours', [{'a': array(1)}, {'a': array(1), 'b': array(1, 1)}], ids=['missing', 'shape']
)
def test_a_gradient_that_is_missing_or_of_another_shape_is_not_compared(ours):
  failed = [
    result
    for result in tolerances.compare_gradients({'a': array(1), 'b': array(1)}, ours, SMALL)
    if not result.passed
  ]
  assert [str(result) for result in failed] == ['grad/b: not compared']


def test_sets_of_names_must_be_equal():
  same = tolerances.compare_sets('trainable', {'a', 'b'}, {'b', 'a'})
  assert (same.passed, same.severity, same.note) == (True, 0.0, '')
  odd = tolerances.compare_sets('trainable', {'a', 'b'}, {'b', 'c'})
  assert (odd.passed, odd.severity) == (False, math.inf)
  assert str(odd) == 'trainable: 2 names differ, such as a'
