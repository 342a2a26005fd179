"""The conversion of checkpoint files: what is written, and that never half of it stays."""

from __future__ import annotations

import pathlib
import re

import numpy as np
import pytest
import tensorflow as tf

from hypertransformer import errors
from hypertransformer.checkpoint_conversion import convert

SHARED = pathlib.Path(__file__).parents[3] / 'shared' / 'golden'
NEEDS_SHARED = pytest.mark.skipif(not SHARED.is_dir(), reason='no ../shared/golden')


def our_variables() -> dict[str, np.ndarray]:
  """Shared features and the real-class head: the smallest checkpoint with other names there."""
  rng = np.random.default_rng(5)
  return {
    'global_step': np.asarray(7, np.int64),
    'loss/shared_head/bias': rng.normal(size=[10]).astype(np.float32),
    'loss/shared_head/kernel': rng.normal(size=[8, 10]).astype(np.float32),
    'model/shared_features/layer_1/kernel': rng.normal(size=[3, 3, 1, 8]).astype(np.float32),
  }


@pytest.fixture
def ours(tmp_path: pathlib.Path) -> pathlib.Path:
  prefix = tmp_path / 'ours' / 'model-7'
  convert.write(prefix, our_variables())
  return prefix


def file_names(folder: pathlib.Path) -> list[str]:
  return sorted(file.name for file in folder.iterdir())


def files_of(prefix: pathlib.Path) -> list[str]:
  return [f'{prefix.name}.data-00000-of-00001', f'{prefix.name}.index']


def assert_equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
  assert sorted(found) == sorted(expected)
  for name, value in expected.items():
    assert found[name].dtype == value.dtype, name
    assert found[name].shape == value.shape, name
    np.testing.assert_array_equal(found[name], value, err_msg=name)


@NEEDS_SHARED
def test_a_real_checkpoint_comes_back_exactly(tmp_path: pathlib.Path) -> None:
  """Its moving averages as well: in a checkpoint of the original they are zeros and ones."""
  source = SHARED / 'ckpt_omniglot_1shot' / 'model-401'
  imported, exported = tmp_path / 'model-402', tmp_path / 'back' / 'model-401'
  report = convert.convert('import', str(source), str(imported))
  assert report == convert.Report(692, 120, 0, 252 + 8, 402)
  report = convert.convert('export', str(imported), str(exported))
  assert report == convert.Report(120, 440, 8, 0, 402)
  original = {
    name: value
    for name, value in convert.read(source).items()
    if not name.startswith('augmentation')
  }
  assert_equal(convert.read(exported), original)


@NEEDS_SHARED
def test_a_trained_checkpoint_can_be_imported(tmp_path: pathlib.Path) -> None:
  report = convert.convert(
    'import', str(SHARED / 'ckpt_trained/model-20000'), str(tmp_path / 'model-20001')
  )
  variables = convert.read(tmp_path / 'model-20001')
  assert report.global_step == int(variables['global_step']) == 20001
  assert variables['global_step'].dtype == np.int64
  assert variables['model/generator_5/label_embeddings'].shape == (21, 32)


def test_a_written_checkpoint_is_complete_and_can_be_restored(
  tmp_path: pathlib.Path, ours: pathlib.Path
) -> None:
  """TensorFlow's own Saver reads it, and there is no file `checkpoint` or other file beside it."""
  target = tmp_path / 'new' / 'folder' / 'model-6'
  report = convert.convert('export', str(ours), str(target))
  assert report == convert.Report(4, 4, 0, 0, 7)
  assert file_names(target.parent) == files_of(target)
  expected = our_variables()
  with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    head = tf.compat.v1.get_variable('loss/shared_head/fc/kernel', [8, 10])
    step = tf.compat.v1.train.get_or_create_global_step()
    tf.compat.v1.train.Saver().restore(session, str(target))
    np.testing.assert_array_equal(session.run(head), expected['loss/shared_head/kernel'])
    assert session.run(step) == 7
  convert.convert('import', str(target), str(tmp_path / 'model-7'))
  assert_equal(convert.read(tmp_path / 'model-7'), expected)


def test_an_existing_output_is_kept_unless_overwritten(
  tmp_path: pathlib.Path, ours: pathlib.Path
) -> None:
  target = tmp_path / 'model-1'
  old = [
    'model-1.index',
    'model-1.data-00000-of-00002',
    'model-1.data-00001-of-00002',
    'model-1.meta',
  ]
  others = ['checkpoint', 'model-1.json', 'model-10.index', 'model-11.data-00000-of-00001']
  for name in old + others:
    (tmp_path / name).write_text('old')
  with pytest.raises(errors.InputError, match=rf'{target} exists.*--overwrite'):
    convert.convert('export', str(ours), str(target))
  assert (tmp_path / 'model-1.index').read_text() == 'old'
  convert.convert('export', str(ours), str(target), overwrite=True)
  assert file_names(tmp_path) == sorted([*files_of(target), *others, 'ours'])
  assert int(convert.read(target)['global_step']) == 7


def test_a_write_that_fails_leaves_the_old_checkpoint(
  tmp_path: pathlib.Path, ours: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  def fail(prefix: pathlib.Path, variables: dict[str, np.ndarray]) -> None:
    prefix.with_name(prefix.name + '.data-00000-of-00001').write_text('half')
    raise tf.errors.ResourceExhaustedError(None, None, 'no space left')

  target = tmp_path / 'out' / 'model-7'
  convert.convert('export', str(ours), str(target))
  before = convert.read(target)
  monkeypatch.setattr(convert, '_save', fail)
  with pytest.raises(errors.InputError, match=rf'{target} cannot be written \(no space'):
    convert.convert('export', str(ours), str(target), overwrite=True)
  assert file_names(target.parent) == files_of(target)
  assert_equal(convert.read(target), before)


@pytest.mark.parametrize(
  'damage', ['no data', 'cut data', 'changed data', 'cut index', 'empty index']
)
def test_damaged_input_is_refused(tmp_path: pathlib.Path, ours: pathlib.Path, damage: str) -> None:
  data, index = (ours.parent / name for name in files_of(ours))
  file = index if 'index' in damage else data
  content = bytearray(file.read_bytes())
  if damage == 'no data':
    file.unlink()
  elif damage == 'changed data':
    content[5] ^= 1
    file.write_bytes(content)
  else:
    file.write_bytes(content[: 0 if 'empty' in damage else len(content) // 2])
  with pytest.raises(errors.InputError, match=str(ours)):
    convert.convert('export', str(ours), str(tmp_path / 'out-7'))
  assert file_names(tmp_path) == ['ours']


def test_the_error_of_a_wrong_direction_names_the_file(
  tmp_path: pathlib.Path, ours: pathlib.Path
) -> None:
  with pytest.raises(errors.InputError, match=rf'{ours}: .*--direction=export'):
    convert.convert('import', str(ours), str(tmp_path / 'out-7'))
  assert file_names(tmp_path) == ['ours']


def test_bad_arguments_are_refused(tmp_path: pathlib.Path, ours: pathlib.Path) -> None:
  out, missing = str(tmp_path / 'out-7'), tmp_path / 'none-7'
  for arguments, found in [
    (('export', str(missing), out), str(missing)),
    (('export', str(ours.parent), out), f'input_checkpoint={ours.parent}'),
    (('export', str(ours) + '.index', out), f'input_checkpoint={ours}.index'),
    (('export', str(ours), f'{tmp_path}/out/'), f'output_checkpoint={tmp_path}/out/'),
    (('export', str(ours), out + '.data-00000-of-00001'), 'output_checkpoint='),
    (('export', '', out), 'input_checkpoint='),
    (('export', str(ours), f'{ours.parent}/../ours/model-7'), 'same'),
  ]:
    with pytest.raises(errors.InputError, match=re.escape(found)):
      convert.convert(*arguments)
