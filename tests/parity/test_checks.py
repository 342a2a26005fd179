"""The check of each kind of recorded file, and the line that tells its result."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pytest

from hypertransformer.data import specs
from hypertransformer.errors import InputError
from tests.parity import checks
from tests.parity.tolerances import Comparison

REPO = pathlib.Path(__file__).resolve().parents[2]
GOLDEN, SHARED = REPO / 'tests/golden', REPO.parent / 'shared/golden'

SCHEDULE = {
  'learning_rate': {
    'lr': 0.02,
    'decay_steps': 100000.0,
    'decay_rate': 0.95,
    'values': {'0': 0.02, '100000': 0.019, '250000': 0.01759296},
  },
  'warmup': {
    'warmup_steps': 100,
    'num_heads': 3,
    'note': 'text',
    'values': {'25': [0.25, 0.75, 0.0, 0.0], '150': [0.0, 0.0, 0.0, 1.0]},
  },
}


def write(tmp_path: pathlib.Path, content) -> str:
  path = tmp_path / 'recorded.json'
  path.write_text(content if isinstance(content, str) else json.dumps(content))
  return str(path)


# ---- model cases and augmentation


FEW = ('in/gray28', 'out/smooth/gray28', 'out/rotate/gray28/angle=0.3')


def augmentation(tmp_path: pathlib.Path, change) -> list[Comparison]:
  """Checks a file with a few augmentations after `change(arrays)`."""
  with np.load(GOLDEN / 'augment_gray28.npz') as file:
    arrays = {key: file[key] for key in FEW}
    index = json.loads(str(file['index']))
  change(arrays)
  path = tmp_path / 'augment.npz'
  np.savez(path, index=np.array(json.dumps({key: index[key] for key in FEW})), **arrays)
  return checks.check(str(path))


def test_an_augmented_image_that_is_wrong_fails(tmp_path):
  def change(arrays):
    arrays['out/smooth/gray28'].reshape(-1)[0] += 0.002

  failed = [result for result in augmentation(tmp_path, change) if not result.passed]
  assert [(result.key, result.allowed) for result in failed] == [('out/smooth/gray28', 1e-3)]
  assert failed[0].error == pytest.approx(2e-3, rel=0.1)


# ---- label permutations and schedules


def permutations() -> dict:
  """Permutations of classes, as they are recorded."""
  return {
    f'seed={seed},classes={classes}': list(map(int, specs.shuffled_classes(classes, seed)))
    for seed, classes in ((7, 30), (2022, 50))
  }


def test_permutations_of_labels_agree(tmp_path, failures):
  results = checks.check(write(tmp_path, {'note': 'text', **permutations()}))
  assert failures(results) == {}
  assert [result.key for result in results] == ['seed=7,classes=30', 'seed=2022,classes=50']


def test_two_swapped_labels_fail(tmp_path, failures):
  content = permutations()
  order = content['seed=7,classes=30']
  order[3], order[4] = order[4], order[3]
  assert failures(checks.check(write(tmp_path, content))) == {'seed=7,classes=30': 'another order'}


def test_schedules_agree(tmp_path, failures):
  results = checks.check(write(tmp_path, SCHEDULE))
  assert failures(results) == {}
  assert [result.key for result in results] == [
    'learning_rate/0',
    'learning_rate/100000',
    'learning_rate/250000',
    'warmup/25',
    'warmup/150',
  ]


@pytest.mark.parametrize(
  ('path', 'value', 'failing'),
  [
    (('learning_rate', 'values', '100000'), 0.01900005, 'learning_rate/100000'),
    (('warmup', 'values', '25'), [0.25, 0.75, 0.0, 2e-6], 'warmup/25'),
  ],
)
def test_one_wrong_number_of_a_schedule_fails(tmp_path, path, value, failing, failures):
  content = json.loads(json.dumps(SCHEDULE))
  content[path[0]][path[1]][path[2]] = value
  assert list(failures(checks.check(write(tmp_path, content)))) == [failing]


@pytest.mark.parametrize('name', ['label_shuffle.json', 'schedule.json'])
def test_the_recorded_json_files_agree(name, failures):
  if not (SHARED / name).exists():
    pytest.skip(f'{SHARED / name} is not here')
  assert failures(checks.check(str(SHARED / name))) == {}


# ---- refused


@pytest.mark.parametrize('content', ['{"a": 1}', '[]', '{}', '3', '{"learning_rate": {}}'])
def test_json_of_no_known_kind_is_refused(tmp_path, content):
  with pytest.raises(InputError, match=r'is neither label_shuffle\.json nor schedule\.json'):
    checks.check(write(tmp_path, content))


@pytest.mark.parametrize('content', [b'', b'nonsense', b'PK\x03\x04 broken'])
def test_a_broken_npz_is_refused(tmp_path, content):
  path = tmp_path / 'a01.npz'
  path.write_bytes(content)
  with pytest.raises(InputError, match=r'cannot be read as \.npz'):
    checks.check(str(path))


def test_a_missing_file_is_refused(tmp_path):
  for path in (tmp_path / 'a01.npz', tmp_path):
    with pytest.raises(InputError, match='is not there; expected a file of golden numbers'):
      checks.check(str(path))


# ---- the line


@pytest.mark.parametrize(
  'failed',
  [
    Comparison('d', 2e-5, 1e-5),
    Comparison('d', np.inf, 0.0, 'not compared'),
    Comparison('d', np.nan, 1e-5),
  ],
)
def test_the_line_of_a_failure_names_it(failed):
  results = [Comparison('b', 9e-6, 1e-5), failed, Comparison('c', 0.0, 0.0)]
  line = checks.line('a01.npz', results)
  assert line.startswith('a01.npz  FAIL  worst ')
  assert line.endswith(' allowed at d  (3 entries)')


def test_a_case_passes_with_xla(failures):
  assert failures(checks.check(str(GOLDEN / 'a22.npz'), xla=True)) == {}
