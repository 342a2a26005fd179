"""The augmentation agrees with numbers recorded from the original, and wrong ones are noticed."""

import json
import pathlib

import numpy as np
import pytest

from hypertransformer.errors import InputError
from tests.parity import augmentation_cases

REPO = pathlib.Path(__file__).resolve().parents[2]
SMALL = REPO / 'tests/golden/augment_gray28.npz'
FULL = REPO.parent / 'shared/golden/augment.npz'


# Enough entries for the tests of failures, and quickly computed.
FEW = (
  'in/gray28',
  'in/normalised_ramp',
  'out/contrast/gray28/alpha=0.1',
  'out/smooth/gray28',
  'out/negate/gray28',
  'out/rotate/gray28/angle=0.3',
  'out/final/gray28/to28',
  'out/prim/to_uint8',
)


def changed(tmp_path, change, keep=FEW):
  """Writes the entries `keep` of the small file after `change(arrays, index)`; returns the path."""
  with np.load(SMALL) as data:
    arrays = {key: data[key] for key in keep}
    index = json.loads(str(data['index']))
  index = {key: index[key] for key in keep}
  change(arrays, index)
  arrays['index'] = np.array(json.dumps(index))
  path = tmp_path / 'augment.npz'
  np.savez(path, **arrays)
  return path


def failures(path):
  """The results that do not pass."""
  return [result for result in augmentation_cases.check_augment(path) if not result[3]]


@pytest.mark.parametrize('path', [SMALL, FULL], ids=['gray28', 'all'])
def test_every_entry_agrees(path):
  if not path.exists():
    pytest.skip(f'{path} is not here')
  results = augmentation_cases.check_augment(path)
  with np.load(path) as data:
    expected = [key for key in data.files if key.startswith('out/')]
  assert [key for key, *_ in results] == expected
  assert [result for result in results if not result[3]] == []
  # This is better than the tolerances ask: not one pixel of a rotation differs.
  assert max(difference for _, difference, _, _ in results) < 1e-3


@pytest.mark.parametrize(
  ('key', 'step'),
  [
    ('out/negate/gray28', 1e-3),
    ('out/contrast/gray28/alpha=0.1', 2e-3),
    ('out/smooth/gray28', np.nan),
    ('out/final/gray28/to28', 3e-5),
    ('out/prim/to_uint8', 2),
  ],
)
def test_one_changed_number_fails(tmp_path, key, step):
  def change(arrays, _):
    arrays[key].reshape(-1)[:1] += np.asarray(step).astype(arrays[key].dtype)

  (failed,) = failures(changed(tmp_path, change))
  assert failed[0] == key
  assert not failed[1] <= failed[2]


@pytest.mark.parametrize(('pixels', 'passes'), [(11, True), (12, False)])
def test_rotation_may_differ_in_half_a_percent_of_the_pixels(tmp_path, pixels, passes):
  key = 'out/rotate/gray28/angle=0.3'  # 3 * 28 * 28 = 2352 pixels

  def change(arrays, _):
    arrays[key].reshape(-1)[:pixels] += 9

  assert [key for key, *_ in failures(changed(tmp_path, change))] == ([] if passes else [key])


def drop_index_entry(_, index):
  del index['out/smooth/gray28']


def drop_array(arrays, _):
  del arrays['out/smooth/gray28']


def drop_input(_, index):
  index['out/smooth/gray28']['input'] = 'in/nothing'


def unknown_kind(_, index):
  index['out/smooth/gray28']['kind'] = 'blur'


def unknown_operation(_, index):
  index['out/smooth/gray28']['op'] = 'blur'


def unknown_variable(_, index):
  index['out/smooth/gray28']['params'] = {'radius': 3}


def no_object(_, index):
  index['out/smooth/gray28'] = 3


@pytest.mark.parametrize(
  'change',
  [
    drop_index_entry,
    drop_array,
    drop_input,
    unknown_kind,
    unknown_operation,
    unknown_variable,
    no_object,
  ],
)
def test_an_entry_that_is_not_understood_is_not_passed(tmp_path, change):
  (failed,) = failures(changed(tmp_path, change))
  assert failed[0].startswith('out/smooth/gray28 (not compared: ')
  assert failed[1] == float('inf')


@pytest.mark.parametrize('content', [b'', b'nonsense', b'PK\x03\x04 broken'])
def test_a_file_that_is_no_npz_is_refused(tmp_path, content):
  path = tmp_path / 'augment.npz'
  path.write_bytes(content)
  with pytest.raises(InputError, match='cannot be read as golden augmentation data'):
    augmentation_cases.check_augment(path)
