"""Our model against the original's numbers; and that the comparison notices a single number that is
wrong.

tests/golden has some cases, so that this runs without ../shared: a22 (pre-training), a21 (shared
features only) without most of its gradients and layer outputs, and combinations of flags likewise.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.errors import InputError
from hypertransformer.original import model_cases

REPO = pathlib.Path(__file__).resolve().parents[2]
SHARED = REPO.parent / 'shared/golden'
WHOLE, SMALL = REPO / 'tests/golden/a21_cut.npz', REPO / 'tests/golden/a22.npz'
QUICK = (4, 5, 22)  # the others build larger graphs: half a minute each on a busy core
CASES = [
  pytest.param(f'a{n:02}', marks=[pytest.mark.slow] if n not in QUICK else []) for n in range(1, 25)
]
CASES += [f'b{n:02}' for n in range(1, 21)]
OURS = sorted(path.name for path in (REPO / 'tests/golden').glob('b*.npz'))


def failures(results) -> dict[str, str]:
  return {result.key: result.note for result in results if not result.passed}


@pytest.mark.parametrize('case', CASES)
def test_case(case):
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
def test_the_cases_that_are_kept_here(name):
  """Combinations of flags (b01-b08), most without layer outputs and most gradients."""
  assert failures(model_cases.check_case(str(REPO / 'tests/golden' / name))) == {}


# ---- one wrong number in a whole case


@pytest.fixture(scope='module')
def whole():
  """(results, case, what _compare got): the model is built and run once for all changes of expected
  numbers.
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
def compare_changed(whole):
  """compare_changed(key, array or None): failures after one entry of the file is replaced or taken
  out.
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


def test_the_whole_case_agrees(whole):
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


def test_an_input_or_summary_that_we_do_not_know_is_not_compared(whole, compare_changed):
  assert compare_changed('in/query_mask', np.zeros(12)) == {'in/query_mask': 'not compared'}
  summaries = json.loads(str(whole[1].arrays['summaries']))
  changed = np.array(json.dumps({**summaries, 'loss/other': 1.0}))
  assert compare_changed('summaries', changed) == {'summaries/loss/other': 'not compared'}


def test_an_array_of_another_shape_fails(whole, compare_changed):
  weights = whole[1].arrays['out/weights/1']
  assert compare_changed('out/weights/1', weights[:-1]) == {
    'out/weights/1': 'shape (9, 4), expected (8, 4)'
  }


def test_regularisation_terms_are_matched_by_kind_and_size():
  """Variation terms by their order, L2 terms by size: those have no layer in their names."""
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


# ---- changed files


def changed(tmp_path, change) -> str:
  with np.load(SMALL) as file:
    arrays = {key: file[key] for key in file.files}
  change(arrays)
  path = tmp_path / 'changed.npz'
  np.savez(path, **arrays)
  return str(path)


KERNEL = 'model/shared_features/layer_2/kernel'


def move(key, by):
  def change(arrays):
    arrays[key] = np.array(arrays[key])  # 0-d arrays, too
    arrays[key].reshape(-1)[:1] += np.asarray(by, arrays[key].dtype)

  return change


def replace(key, value):
  def change(arrays):
    arrays[key] = np.array(value)

  return change


def remove(key):
  def change(arrays):
    del arrays[key]

  return change


def test_an_unchanged_copy_passes(tmp_path):
  assert failures(model_cases.check_case(changed(tmp_path, lambda arrays: None))) == {}


@pytest.mark.parametrize(
  ('change', 'failing'),
  [
    (move('out/loss', 1e-3), {'out/loss'}),
    (move('out/shared_features', 1e-3), {'out/shared_features'}),
    (move(f'grad/{KERNEL}', 1.0), {f'grad/{KERNEL}', 'grad/ (all together)'}),
    (replace('out/extra', 1.0), {'out/extra'}),
    (replace('trainable', '[]'), {'trainable'}),
  ],
)
def test_one_wrong_entry_of_a_file_fails(tmp_path, change, failing):
  assert set(failures(model_cases.check_case(changed(tmp_path, change)))) == failing


@pytest.mark.parametrize(
  'key',
  [f'var/{KERNEL}', 'var/loss/shared_head/fc/bias', 'in/support_images', 'in/support_classes'],
)
def test_a_wrong_variable_or_input_fails(tmp_path, key):
  failed = failures(model_cases.check_case(changed(tmp_path, move(key, 1))))
  assert 'out/loss' in failed
  assert any(name.startswith('grad/') for name in failed)


def test_images_may_be_stored_as_uint8(tmp_path):
  def change(arrays):
    images = arrays.pop('in/support_images')
    arrays['in/support_images_u8'] = np.round((images + 1) * 128).astype(np.uint8)

  assert failures(model_cases.check_case(changed(tmp_path, change))) == {}


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (
      remove(f'var/{KERNEL}'),
      f'variables of the file and of the model built from its flags differ: {KERNEL} (1 in all).',
    ),
    (
      replace('var/model/shared_features/layer_4/bias', np.zeros(8, np.float32)),
      'differ: model/shared_features/layer_4/bias (1 in all).',
    ),
    (replace('var/model/nothing', 1.0), 'cannot import model/nothing'),
    (remove('in/support_images'), 'has no in/support_images'),
    (
      replace('var/loss/shared_head/fc/bias', np.zeros(9, np.float32)),
      'differ: loss/shared_head/bias (9,), expected (10,) (1 in all).',
    ),
    (remove('config'), 'is not a golden case (an .npz with a JSON entry "config")'),
    (replace('config', 'no JSON'), 'is not a golden case'),
    (replace('config', '{}'), 'is not a golden case'),
    (replace('config', '[]'), 'is not a golden case'),
    (
      replace('config', '{"flags": {"hidden_size": 3, "heads": 1}}'),
      'has flags that do not exist: hidden_size.',
    ),
    (
      replace('config', '{"flags": {"num_labels": 1}}'),
      'num_labels is 1; an episode needs at least 2 classes.',
    ),
  ],
)
def test_files_that_are_no_case(tmp_path, change, message):
  with pytest.raises(InputError) as caught:
    model_cases.check_case(changed(tmp_path, change))
  assert message in str(caught.value)
  # What can be read but has no model to compare with is told apart: the parity check then fails,
  # with status 1.
  assert isinstance(caught.value, model_cases.NotComparable) == (
    'differ: ' in message or 'no in/' in message
  )


@pytest.mark.parametrize('content', [b'', b'nonsense', b'PK\x03\x04 broken'])
def test_files_that_are_no_npz(tmp_path, content):
  path = tmp_path / 'a.npz'
  path.write_bytes(content)
  for one in (path, tmp_path / 'missing.npz'):
    with pytest.raises(InputError, match='is not a golden case'):
      model_cases.read_case(str(one))


def test_a_damaged_npz_is_refused(tmp_path):
  content = bytearray(SMALL.read_bytes())
  content[len(content) // 2] ^= 255
  path = tmp_path / 'a.npz'
  path.write_bytes(content)
  with pytest.raises(InputError, match='is not a golden case'):
    model_cases.read_case(str(path))


def test_an_array_is_no_npz(tmp_path):
  np.save(tmp_path / 'a.npy', np.zeros(3))
  with pytest.raises(InputError, match='is not a golden case'):
    model_cases.read_case(str(tmp_path / 'a.npy'))


def test_the_original_trained_its_heads():
  case = model_cases.Case('', {}, {'flags': {'warmup_steps': 100}})
  assert case.values['warmup_heads'] == 'trained'
  assert case.values['warmup_steps'] == 100
  assert case.texts('none_grads') == []
  assert case.input('support_mask') is None


def test_the_default_graph_is_left_alone():
  with tf.Graph().as_default() as graph:
    model_cases.check_case(str(SMALL))
    assert not graph.get_operations()
