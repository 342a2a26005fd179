"""Our model agrees with the original's numbers, and a single wrong number is noticed.

All cases are in ../shared/golden, beside the repository. So that these tests run without it, some
are in tests/golden: a22 (pre-training), and without most gradients and layer outputs a21 (shared
features only) and combinations of flags.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from tests.parity import model_cases

REPO = pathlib.Path(__file__).resolve().parents[2]
SHARED = REPO.parent / 'shared/golden'
WHOLE = REPO / 'tests/golden/a21_cut.npz'
QUICK = (4, 5, 22)  # the other cases have larger graphs: half a minute each on a busy core
CASES = [
  pytest.param(f'a{n:02}', marks=[pytest.mark.slow] if n not in QUICK else []) for n in range(1, 25)
]
CASES += [f'b{n:02}' for n in range(1, 21)]
OURS = sorted(path.name for path in (REPO / 'tests/golden').glob('b*.npz'))


@pytest.mark.parametrize('case', CASES)
def test_our_model_agrees_with_a_recorded_case(case, failures):
  path = SHARED / f'{case}.npz'
  if not path.exists():
    pytest.skip(f'{path} is not here')
  results = model_cases.check_case(str(path))
  assert failures(results) == {}
  with np.load(path) as file:
    recorded = {key for key in file.files if key.startswith(('out/', 'grad/'))}
  assert recorded <= {result.key for result in results}
  assert {'trainable', 'none_grads', 'grad/'} <= {result.key for result in results}


@pytest.mark.parametrize('name', OURS)
def test_our_model_agrees_with_the_cases_kept_here(name, failures):
  """Combinations of flags (b01-b08), most without layer outputs and most gradients."""
  assert failures(model_cases.check_case(str(REPO / 'tests/golden' / name))) == {}


@pytest.fixture(scope='module')
def whole():
  """The comparisons of a whole case, the case, and what else `_compare` was given for it.

  The model is built and run once. The tests then change what was recorded and compare again.
  """
  got = []

  def compare(case, *computed):
    got.extend([case, computed])
    return original(case, *computed)

  original = model_cases._compare
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(model_cases, '_compare', compare)
    results = model_cases.check_case(str(WHOLE))
  return results, *got


@pytest.fixture
def compare_changed(whole, failures):
  """compare_changed(key, value): the failures after one entry of the file was replaced.

  With the value None the entry is taken out.
  """
  _, case, computed = whole

  def compare(key, value):
    arrays = {**case.arrays, key: value}
    if value is None:
      del arrays[key]
    return failures(model_cases._compare(dataclasses.replace(case, arrays=arrays), *computed))

  return compare


def off(array: np.ndarray, step: float) -> np.ndarray:
  """A copy with its first entry moved by `step` times the largest entry."""
  changed = np.array(array)
  changed.reshape(-1)[0] += step * np.abs(array).max()
  return changed


def test_the_whole_case_agrees(whole, failures):
  results, case, _ = whole
  assert failures(results) == {}
  keys = [result.key for result in results]
  assert len(set(keys)) == len(keys)
  assert {key for key in case.arrays if key.startswith(('out/', 'grad/'))} <= set(keys)
  assert {'trainable', 'none_grads', 'grad/', 'grad/ (all together)', 'summaries/loss/loss'} <= set(
    keys
  )


@pytest.mark.parametrize(
  ('key', 'step'),
  [
    ('out/weights/2', 2e-4),
    ('out/layer/1', 2e-4),
    ('out/logits', 2e-4),
    ('out/eval_logits', 2e-4),
    ('out/loss', 2e-5),
    ('out/ce', 2e-5),
    ('out/ce_terms', 2e-5),
    ('out/shared_features', 2e-5),
    ('out/shared_head_loss', 2e-5),
    ('out/shared_head_accuracy', 0.1),
    ('out/eval_accuracy', 0.1),
  ],
)
def test_one_wrong_output_fails(whole, compare_changed, key, step):
  expected = whole[1].arrays[key]
  expected = expected if expected.any() else expected + 1  # an accuracy of 0
  assert list(compare_changed(key, off(expected, step))) == [key]


def test_one_wrong_gradient_fails(whole, compare_changed):
  _, case, _ = whole
  largest = max(
    np.abs(array).max() for key, array in case.arrays.items() if key.startswith('grad/')
  )
  for key, gradient in case.arrays.items():
    if key.startswith('grad/'):
      changed = gradient.copy()
      changed.reshape(-1)[-1] += np.float32(3e-4) * largest
      failed = compare_changed(key, changed)
      assert key in failed
      assert set(failed) <= {key, 'grad/ (all together)'}


def test_a_wrong_list_fails(whole, compare_changed):
  trainable = whole[1].texts('trainable')
  none = whole[1].texts('none_grads')

  def text(names):
    return np.array(json.dumps(names))

  assert compare_changed('trainable', text(trainable[1:])) == {
    'trainable': f'1 names differ, such as {trainable[0]}'
  }
  assert list(compare_changed('trainable', text([*trainable, 'model/x']))) == ['trainable']
  assert list(compare_changed('none_grads', text([*none, trainable[0]]))) == ['none_grads']
  assert none  # the real-class head, of weight 0
  assert list(compare_changed('none_grads', text([]))) == ['none_grads', 'grad/']
  assert list(compare_changed('grads_not_stored', text([]))) == ['grad/']


def test_a_wrong_summary_fails(whole, compare_changed):
  summaries = json.loads(str(whole[1].arrays['summaries']))
  for tag in ('loss/loss', 'loss/loss/ce', 'accuracy/accuracy'):
    changed = np.array(json.dumps({**summaries, tag: summaries[tag] + 1e-3}))
    assert list(compare_changed('summaries', changed)) == [f'summaries/{tag}']


def test_an_entry_that_we_do_not_compute_is_not_compared(compare_changed):
  assert compare_changed('out/perplexity', np.float32(3)) == {'out/perplexity': 'not compared'}
  assert (
    compare_changed('grad/model/x', np.zeros(3, np.float32)).get('grad/model/x') == 'not compared'
  )


def test_regularisation_terms_are_matched_by_kind_and_size():
  """Variation terms are matched by their order, L2 terms by size: their names tell no layer."""
  case = model_cases.Case(
    '',
    {
      'reg_term_names': np.array(
        json.dumps(
          [
            'mul',
            'reg_loss_model/cnn/layer_1/conv/kernel',
            'mul_1',
            'reg_loss_model/cnn/layer_1/conv/kernel_1',
          ]
        )
      )
    },
    {},
  )
  ours, expected = model_cases._sorted_terms(
    case, np.array([3.0, 1.0, 9.0, 8.0]), np.array([8.0, 3.0, 9.0, 1.0])
  )
  assert ours.tolist() == expected.tolist() == [3.0, 1.0, 8.0, 9.0]
