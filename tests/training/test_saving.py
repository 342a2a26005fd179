"""What a failed save is called."""

from __future__ import annotations

import pathlib

import pytest
import tensorflow.compat.v1 as tf

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


def test_a_folder_that_is_deleted_just_before_a_save_is_made_again(tmp_path: pathlib.Path) -> None:
  with tf.Graph().as_default(), tf.Session() as session:
    session.run(tf.get_variable('v', [], initializer=tf.zeros_initializer()).initializer)
    assert Saver().save(session, str(tmp_path / 'gone' / 'model'), 5).endswith('model-5')
    assert (tmp_path / 'gone' / 'model-5.index').exists()
    (tmp_path / 'file').touch()
    with pytest.raises(InputError, match='cannot be written'):
      Saver().save(session, str(tmp_path / 'file' / 'model'), 5)
