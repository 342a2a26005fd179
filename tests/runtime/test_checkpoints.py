"""Checkpoints on disk are found, checked and compared with a model; and flags.json beside them."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.errors import InputError
from hypertransformer.runtime import checkpoints


@pytest.fixture(scope='module')
def saved(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """A folder with the checkpoints model-2, model-10 and model-9, saved in this order."""
  folder = tmp_path_factory.mktemp('saved')
  with tf.Graph().as_default(), tf.Session() as session:
    step = tf.train.get_or_create_global_step()
    tf.get_variable('a', initializer=np.arange(6000, dtype=np.float32))
    tf.get_variable('scope/b', initializer=np.ones((2, 3), np.float32))
    saver = tf.train.Saver()
    session.run(tf.global_variables_initializer())
    for number in (2, 10, 9):
      session.run(step.assign(number))
      saver.save(session, str(folder / 'model'), global_step=number, write_meta_graph=False)
  return folder


@pytest.fixture
def folder(saved: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
  """A copy of that folder, which a test may change."""
  copy = tmp_path / 'run'
  shutil.copytree(saved, copy)
  return copy


def data(folder: pathlib.Path, step: int) -> pathlib.Path:
  """The data file of a checkpoint."""
  return folder / f'model-{step}.data-00000-of-00001'


def test_find_sorts_by_step_and_takes_nothing_else(folder: pathlib.Path) -> None:
  for name in ('model-11.data-00000-of-00001', 'model-x.index', 'other-5.index'):
    (folder / name).touch()
  assert list(checkpoints.find(str(folder))) == [2, 9, 10]
  assert checkpoints.find(str(folder / 'missing')) == {}


def test_a_path_that_tensorflow_takes_for_a_pattern_is_refused(folder: pathlib.Path) -> None:
  """TensorFlow saves there, but never finds what it has saved."""
  odd = folder.with_name('run [1]')
  shutil.copytree(folder, odd)
  assert checkpoints.unreadable(str(odd / 'model-2')) != ''
  with pytest.raises(InputError, match=r'train_log_dir.*\['):
    checkpoints.require_plain(str(odd), 'train_log_dir')
  checkpoints.require_plain(str(folder), 'train_log_dir')


@pytest.mark.parametrize(
  'damage',
  [
    lambda folder: (folder / 'model-10.index').write_bytes(b''),
    lambda folder: data(folder, 10).unlink(),
    lambda folder: data(folder, 10).write_bytes(data(folder, 10).read_bytes()[:-100]),
    lambda folder: data(folder, 10).write_bytes(data(folder, 9).read_bytes()[::-1]),
  ],
)
def test_a_damaged_newest_is_skipped_with_a_warning(
  folder: pathlib.Path, warnings: list[str], damage: Any
) -> None:
  assert checkpoints.newest(str(folder)) == str(folder / 'model-10')
  assert not warnings
  damage(folder)
  assert checkpoints.newest(str(folder)) == str(folder / 'model-9')
  (warning,) = warnings
  assert str(folder / 'model-10') in warning
  for step in (2, 9):
    data(folder, step).unlink()
  assert checkpoints.newest(str(folder)) is None


@pytest.mark.parametrize(
  ('values', 'why'),
  [
    ({'a': np.float32([1, np.nan])}, 'a is NaN or inf'),
    ({'a': np.float32(-np.inf)}, 'a is NaN or inf'),
    ({'global_step': np.float32(3)}, 'global_step is float32 3.0'),
    ({'global_step': np.int64([3, 4])}, r'global_step is int64 \[3, 4\]'),
    ({'global_step': np.int64(-3)}, 'global_step is int64 -3'),
    ({'global_step': np.array(b'text')}, 'global_step is '),
  ],
)
def test_values_that_no_training_saves_are_refused_by_name(
  tmp_path: pathlib.Path, warnings: list[str], values: dict[str, np.ndarray], why: str
) -> None:
  prefix = save(tmp_path, values)
  assert re.search(why, checkpoints.unreadable(prefix))
  assert checkpoints.newest(str(tmp_path)) is None
  assert re.search(why, warnings[0])
  with pytest.raises(InputError, match=why):
    checkpoints.locate(prefix, '--eval_checkpoint')


def test_a_variable_of_another_type_is_named(tmp_path: pathlib.Path) -> None:
  prefix = save(tmp_path, {'a': np.float64([1, 2])})
  with tf.Graph().as_default():
    variables = [tf.get_variable('a', [2])]
  assert checkpoints.compare(prefix, variables).endswith('a: is float64, must be float32')


def save(folder: pathlib.Path, values: dict[str, np.ndarray]) -> str:
  """Saves a checkpoint with these values and no others."""
  with tf.Graph().as_default(), tf.Session() as session:
    variables = [tf.get_variable(name, initializer=value) for name, value in values.items()]
    session.run(tf.variables_initializer(variables))
    return tf.train.Saver(variables).save(session, str(folder / 'model-3'))


def listed(folder: pathlib.Path) -> list[str]:
  """The names of the checkpoints in TensorFlow's file `checkpoint`."""
  state = tf.train.get_checkpoint_state(str(folder))
  return [pathlib.Path(path).name for path in state.all_model_checkpoint_paths]


@pytest.mark.parametrize('content', [None, b'', b'\0\xff\xfe' * 50, b'model_', 'pipe', 'saved'])
def test_repair_state_names_the_checkpoint(
  folder: pathlib.Path, content: bytes | str | None
) -> None:
  """The file is missing or damaged, or names another checkpoint: model-9 was saved last."""
  if content != 'saved':
    (folder / 'checkpoint').unlink()
  if content == 'pipe':
    os.mkfifo(folder / 'checkpoint')
  elif isinstance(content, bytes):
    (folder / 'checkpoint').write_bytes(content)
  checkpoints.repair_state(str(folder), str(folder / 'model-10'))
  assert listed(folder) == ['model-2', 'model-9', 'model-10']
  moved = folder.rename(folder.with_name('moved'))
  assert tf.train.latest_checkpoint(str(moved)) == str(moved / 'model-10')


def test_repair_state_lists_no_more_than_are_kept(folder: pathlib.Path) -> None:
  """A saver would delete the others that are listed, also those that are kept for good."""
  for step in (20, 30):
    for path in folder.glob('model-10.*'):
      shutil.copy(path, folder / path.name.replace('10', str(step), 1))
  (folder / 'checkpoint').unlink()
  checkpoints.repair_state(str(folder), str(folder / 'model-30'))
  assert listed(folder) == ['model-10', 'model-20', 'model-30']


def test_repair_state_of_no_checkpoint_removes_the_file(folder: pathlib.Path) -> None:
  for _ in range(2):
    checkpoints.repair_state(str(folder), None)
    assert not (folder / 'checkpoint').exists()


def test_global_step_is_read_from_the_checkpoint(folder: pathlib.Path) -> None:
  assert checkpoints.global_step(str(folder / 'model-9')) == 9
  with pytest.raises(InputError, match='global_step'):
    checkpoints.global_step(str(folder / 'missing'))


def test_require_match_names_missing_and_reshaped_variables(folder: pathlib.Path) -> None:
  with tf.Graph().as_default():
    wrong = [tf.get_variable('a', [5]), tf.get_variable('d', [1]), tf.get_variable('e', [1])]
  with pytest.raises(InputError, match=r'd; e .*a: has \[6000\], needs \[5\]'):
    checkpoints.require_match(str(folder / 'model-2'), wrong)
  with tf.Graph().as_default():
    checkpoints.require_match(str(folder / 'model-2'), [tf.get_variable('a', [6000])])


def test_no_variable_of_the_model_is_lost(tmp_path: pathlib.Path) -> None:
  """An optimizer's variables may be lost."""
  with tf.Graph().as_default(), tf.Session() as session:
    kept, _, _ = (
      tf.get_variable(name, [1]) for name in ('model/a', 'model/b/kernel', 'beta1_power')
    )
    session.run(tf.global_variables_initializer())
    tf.train.Saver().save(session, str(tmp_path / 'x'), write_meta_graph=False)
    checkpoints.require_match(str(tmp_path / 'x'), tf.global_variables()[:2], whole=True)
    with pytest.raises(InputError, match='model/b/kernel'):
      checkpoints.require_match(str(tmp_path / 'x'), [kept], whole=True)


@pytest.mark.parametrize('ending', ['', '.index', '.data-00000-of-00001'])
def test_a_checkpoint_is_found_by_any_of_its_files(folder: pathlib.Path, ending: str) -> None:
  prefix = str(folder / 'model-9')
  assert checkpoints.locate(prefix + ending, 'checkpoint') == prefix
