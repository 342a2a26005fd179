"""What a failed save is called."""

from __future__ import annotations

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
