"""Changed files of model cases: one wrong number is noticed, and other files are refused."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from hypertransformer.errors import InputError
from tests.parity import model_cases

SMALL = pathlib.Path(__file__).parents[1] / 'golden/a22.npz'
KERNEL = 'model/shared_features/layer_2/kernel'


def changed(tmp_path, change) -> str:
  """Writes a copy of the file SMALL after `change(arrays)`, and returns its path."""
  with np.load(SMALL) as file:
    arrays = {key: file[key] for key in file.files}
  change(arrays)
  path = tmp_path / 'changed.npz'
  np.savez(path, **arrays)
  return str(path)


def move(key, by):
  """A change that adds `by` to the first number of an array."""

  def change(arrays):
    arrays[key] = np.array(arrays[key])  # so that single numbers can be changed, too
    arrays[key].reshape(-1)[:1] += np.asarray(by, arrays[key].dtype)

  return change


def replace(key, value):
  """A change that puts another array in the place of one."""

  def change(arrays):
    arrays[key] = np.array(value)

  return change


def remove(key):
  """A change that takes an array out of the file."""

  def change(arrays):
    del arrays[key]

  return change


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
def test_one_wrong_entry_of_a_file_fails(tmp_path, change, failing, failures):
  assert set(failures(model_cases.check_case(changed(tmp_path, change)))) == failing


@pytest.mark.parametrize(
  'key',
  [f'var/{KERNEL}', 'var/loss/shared_head/fc/bias', 'in/support_images', 'in/support_classes'],
)
def test_a_wrong_variable_or_input_fails(tmp_path, key, failures):
  failed = failures(model_cases.check_case(changed(tmp_path, move(key, 1))))
  assert 'out/loss' in failed
  assert any(name.startswith('grad/') for name in failed)


def test_images_may_be_stored_as_uint8(tmp_path, failures):
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
def test_files_that_are_no_case_are_refused(tmp_path, change, message):
  with pytest.raises(InputError) as caught:
    model_cases.check_case(changed(tmp_path, change))
  assert message in str(caught.value)
  # If a file can be read but has no model to compare with, the error is another one:
  # utils/check_parity.py then ends with status 1, not 2.
  assert isinstance(caught.value, model_cases.NotComparable) == (
    'differ: ' in message or 'no in/' in message
  )
