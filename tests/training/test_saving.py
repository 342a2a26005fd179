"""What a failed save is called."""

from __future__ import annotations

import pathlib
import shutil

import pytest
import tensorflow.compat.v1 as tf
from tensorflow.python.checkpoint import checkpoint_management

from hypertransformer.errors import InputError
from hypertransformer.training.saving import Saver


@pytest.mark.parametrize(
  ('raised', 'expected'),
  [
    (tf.errors.UnavailableError, tf.errors.UnavailableError),  # a parameter server is lost
    (tf.errors.AbortedError, tf.errors.AbortedError),
    (tf.errors.ResourceExhaustedError, InputError),
    (OSError, InputError),
  ],
)
def test_only_a_file_that_cannot_be_written_is_bad_input(
  raised: type[Exception], expected: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
  def fail(*arguments: object, **options: object) -> None:
    raise raised(*((None, None, 'why') if issubclass(raised, tf.errors.OpError) else ('why',)))

  with tf.Graph().as_default():
    tf.get_variable('v', [])
    saver = Saver()
  monkeypatch.setattr(tf.train.Saver, 'save', fail)
  with pytest.raises(expected, match='why'):
    saver.save(None, '/there/model')


def test_a_folder_that_is_deleted_during_a_save_is_made_again(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  folder, write = tmp_path / 'gone', checkpoint_management.update_checkpoint_state_internal

  def delete(*arguments: object, **options: object) -> None:
    monkeypatch.setattr(checkpoint_management, 'update_checkpoint_state_internal', write)
    shutil.rmtree(folder)
    raise tf.errors.NotFoundError(None, None, 'no directory')

  with tf.Graph().as_default(), tf.Session() as session:
    session.run(tf.get_variable('v', [], initializer=tf.zeros_initializer()).initializer)
    monkeypatch.setattr(checkpoint_management, 'update_checkpoint_state_internal', delete)
    assert Saver().save(session, str(folder / 'model'), 5).endswith('model-5')
    assert (folder / 'model-5.index').exists()
    (tmp_path / 'file').touch()
    with pytest.raises(InputError, match='cannot be written'):
      Saver().save(session, str(tmp_path / 'file' / 'model'), 5)
