"""We agree with the original's numbers, and a single wrong number is noticed.

All cases are in ../shared/golden, beside the repository. So that these tests run without it, some
are in tests/golden: a22 (pre-training), and without most gradients and layer outputs a21 (shared
features only) and combinations of flags.
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import pytest

from hypertransformer.errors import InputError
from tests.parity import checks, model_cases
from tests.parity.tolerances import Comparison

REPO = pathlib.Path(__file__).resolve().parents[2]
GOLDEN, SHARED = REPO / 'tests/golden', REPO.parent / 'shared/golden'
QUICK = ('a04', 'a05', 'a22')  # the other cases have larger graphs: half a minute each
RECORDED = [
  pytest.param(name, marks=[] if name in QUICK or name[0] == 'b' else [pytest.mark.slow])
  for name in (*(f'a{n:02}' for n in range(1, 25)), *(f'b{n:02}' for n in range(1, 21)))
]
KERNEL = 'grad/model/shared_features/layer_2/kernel'
SMOOTH, NEGATE = 'out/smooth/gray28', 'out/negate/gray28'


def failures(results: list[Comparison]) -> set[str]:
  assert len({result.key for result in results}) == len(results) > 0
  return {result.key for result in results if not result.passed}


def read(name: str) -> dict[str, np.ndarray]:
  with np.load(GOLDEN / name) as file:
    return {key: file[key] for key in file.files}


def moved(array: Any, by: float) -> np.ndarray:
  """A copy with a number added to the first entry."""
  changed = np.array(array)
  changed.reshape(-1)[0] += np.asarray(by).astype(changed.dtype)
  return changed


@pytest.mark.parametrize('name', RECORDED)
def test_our_model_agrees_with_a_recorded_case(name):
  path = SHARED / f'{name}.npz'
  if not path.exists():
    pytest.skip(f'{path} is not here')
  results = checks.check(str(path))
  assert failures(results) == set()
  with np.load(path) as file:
    recorded = {key for key in file.files if key.startswith(('out/', 'grad/'))}
  assert recorded | {'trainable', 'none_grads', 'grad/'} <= {result.key for result in results}


@pytest.mark.parametrize(
  'path',
  [
    path
    for path in sorted(GOLDEN.glob('[ab]*.npz'))
    if not (SHARED / f'{path.stem.removesuffix("_cut")}.npz').exists()  # that says more
  ],
  ids=lambda path: path.stem,
)
def test_we_agree_with_the_files_kept_here(path):
  assert failures(checks.check(str(path))) == set()


@pytest.mark.parametrize('name', ['augment.npz', 'label_shuffle.json', 'schedule.json'])
def test_we_agree_with_the_other_recorded_files(name):
  if not (SHARED / name).exists():
    pytest.skip(f'{SHARED / name} is not here')
  assert failures(checks.check(str(SHARED / name))) == set()


def test_a_case_passes_with_xla():
  assert failures(checks.check(str(GOLDEN / 'a22.npz'), xla=True)) == set()


@pytest.fixture(scope='module')
def computed():
  """A whole case, and what we compute for it."""
  arrays = read('a21_cut.npz')
  case = model_cases.Case(arrays, json.loads(str(arrays['config'])))
  return case, model_cases.compute(case)


@pytest.mark.parametrize(
  ('key', 'by'),
  [
    ('out/weights/2', 2e-4),
    ('out/layer/1', 2e-4),
    ('out/logits', 2e-4),
    ('out/eval_logits', 2e-4),
    ('out/loss', 2e-5),
    ('out/ce_terms', 2e-5),
    ('out/shared_features', 2e-5),
    ('out/eval_accuracy', 0.1),
    ('out/logits', np.nan),
  ],
)
def test_one_wrong_output_of_the_model_fails(computed, key, by):
  case, ours = computed
  scale = np.abs(case.arrays[key]).max() or 1.0
  changed = {**case.arrays, key: moved(case.arrays[key], by * scale)}
  assert failures(model_cases.compare(model_cases.Case(changed, case.settings), *ours)) == {key}


@pytest.mark.parametrize(
  ('changes', 'failing'),
  [
    (lambda of: {KERNEL: moved(of[KERNEL], 1.0)}, {KERNEL, 'grad/ (all together)'}),
    (lambda of: {'out/extra': np.ones(1)}, {'out/extra'}),
    (lambda of: {'out/shared_features': of['out/shared_features'][:1]}, {'out/shared_features'}),
    (lambda of: {'trainable': np.array('[]')}, {'trainable'}),
    (lambda of: {'none_grads': np.array('["loss/x"]')}, {'none_grads', 'grad/'}),
    (lambda of: {'summaries': np.array('{"loss/loss": 9.0}')}, {'summaries/loss/loss'}),
  ],
  ids=['gradient', 'not computed', 'shape', 'variables', 'no gradient', 'summary'],
)
def test_one_wrong_entry_of_a_file_fails(changes, failing):
  arrays = read('a22.npz')
  assert failures(model_cases.check_case({**arrays, **changes(arrays)})) == failing


@pytest.mark.parametrize(('key', 'by'), [(SMOOTH, 2e-3), (SMOOTH, np.nan), (NEGATE, 1e-3)])
def test_one_wrong_pixel_of_an_augmentation_fails(tmp_path, key, by):
  arrays = {name: array for name, array in read('augment_gray28.npz').items() if 'rot' not in name}
  np.savez(tmp_path / 'wrong.npz', **{**arrays, key: moved(arrays[key], by)})
  assert failures(checks.check(str(tmp_path / 'wrong.npz'))) == {key}


@pytest.mark.parametrize(
  ('content', 'failing'),
  [
    ({'seed=0,classes=3': [0, 0, 0], 'note': 'text'}, {'seed=0,classes=3'}),
    (
      {
        'learning_rate': {
          'lr': 0.02,
          'decay_steps': 100000.0,
          'decay_rate': 0.95,
          'values': {'0': 0.02, '100000': 0.01900005},
        },
        'warmup': {
          'warmup_steps': 100,
          'num_heads': 3,
          'values': {'25': [0.25, 0.75, 0.0, 2e-6], '150': [0.0, 0.0, 0.0, 1.0]},
        },
      },
      {'learning_rate/100000', 'warmup/25'},
    ),
  ],
  ids=['label permutation', 'schedule'],
)
def test_a_wrong_permutation_or_schedule_fails(tmp_path, content, failing):
  path = tmp_path / 'wrong.json'
  path.write_text(json.dumps(content))
  assert failures(checks.check(str(path))) == failing


@pytest.mark.parametrize(
  ('name', 'content'), [('a01.npz', b'PK\x03\x04 broken'), ('a.json', b'{'), ('b.json', b'{}')]
)
def test_a_file_of_no_known_kind_is_refused(tmp_path, name, content):
  (tmp_path / name).write_bytes(content)
  with pytest.raises(InputError, match=name):
    checks.check(str(tmp_path / name))
