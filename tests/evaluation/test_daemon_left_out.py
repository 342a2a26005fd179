"""Checkpoints that cannot be evaluated are named and left out; the evaluator takes the next one."""

from __future__ import annotations

import json
import pathlib
import shutil
from typing import Any

import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.errors import InputError
from hypertransformer.runtime import checkpoints
from hypertransformer.settings import flags, flags_file


def assert_left_out(bench: Any, step: int, reason: str) -> None:
  (warning,) = bench.warnings()
  assert warning.startswith(f'Checkpoint {bench.folder}/model-{step} is left out: {reason}')
  assert step not in bench.steps()


def test_checkpoints_that_are_deleted_before_their_turn_are_counted_at_the_end(bench: Any) -> None:
  """Also those that come and go while another one is evaluated, as the trainer notes each."""
  bench.save(5, 0.5)
  bench.save(10, 0.5)
  notes = tf.io.TFRecordWriter(str(bench.folder / 'events.out.tfevents.1'))

  def train_on(preset: str, number: int) -> None:
    if number == 1:
      for step in range(0, 200, 5):
        saved = tf.SessionLog(status=tf.SessionLog.CHECKPOINT)
        notes.write(tf.Event(step=step, session_log=saved).SerializeToString())
      notes.flush()
      for path in bench.folder.glob('model-10.*'):
        path.unlink()
      bench.save(200, 0.5)

  bench.evaluator.during = train_on
  bench.run()
  assert bench.steps() == [5, 200]
  assert bench.warnings() == []
  (line,) = [line for line in bench.lines if 'have no result' in line]
  assert line == (
    '38 of 40 checkpoints have no result: the training deleted them before they were evaluated '
    '(steps 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, ... 195). It keeps the newest 3. To have all '
    'evaluated: save less often (a larger --steps_between_saves), evaluate faster (a smaller '
    '--num_task_evals), or start the evaluator with the training.'
  )


def test_a_checkpoint_that_is_deleted_during_its_evaluation_is_evaluated(bench: Any) -> None:
  """It is read from a copy, also for the second preset and as the best checkpoint."""
  bench.save(5, 0.5)

  def delete(preset: str, number: int) -> None:
    for path in bench.folder.glob('model-5.*'):
      path.unlink()

  bench.evaluator.during = delete
  bench.run(presets=('test', 'val'))
  assert bench.steps() == [5, 5]
  assert bench.warnings() == []
  assert checkpoints.find(str(bench.folder / 'best')) == {5: str(bench.folder / 'best' / 'model-5')}


def test_a_half_written_checkpoint_is_left_out(bench: Any) -> None:
  for step in (5, 10):
    bench.save(step, 0.5)
  data = bench.folder / 'model-5.data-00000-of-00001'
  data.write_bytes(data.read_bytes()[:-1])
  bench.run()
  assert bench.steps() == [10]
  assert_left_out(bench, 5, 'it cannot be read, half-written or damaged (')


def test_a_checkpoint_that_is_complete_later_is_evaluated_then(bench: Any) -> None:
  """This is so even if a later checkpoint was complete before it."""
  for step in (5, 10):
    bench.save(step, 0.5)
  data = bench.folder / 'model-5.data-00000-of-00001'
  content = data.read_bytes()
  data.write_bytes(content[:-1])

  def complete(preset: str, number: int) -> None:
    if number == 1:
      data.write_bytes(content)
      bench.save(15, 0.5)

  bench.evaluator.during = complete
  bench.run(train_steps=15, timeout_secs=20.0)
  assert bench.steps() == [10, 5, 15]
  (warning,) = bench.warnings()
  assert f'{bench.folder}/model-5' in warning


def test_a_checkpoint_of_another_model_is_left_out(bench: Any) -> None:
  bench.save(5, 0.5, shape=(2,))
  bench.save(10, 0.5)
  bench.run()
  assert bench.steps() == [10]
  assert_left_out(
    bench,
    5,
    'it is of another model than these flags make: 1 have another shape, such as accuracy: '
    'has [2], needs []',
  )


def test_a_checkpoint_without_a_step_is_left_out(bench: Any) -> None:
  bench.save(5, 0.5, with_step=False)
  bench.save(10, 0.5)
  bench.run()
  assert bench.steps() == [10]
  assert 'no global_step could be read' in bench.warnings()[0]


def test_a_run_of_an_older_version_that_is_another_model_now_is_refused(bench: Any) -> None:
  bench.save(5, 0.5)
  values = flags.defaults() | {'num_labels': 20}
  (bench.folder / 'flags.json').write_text(json.dumps(values))
  with pytest.raises(InputError, match=r'1 tried\): the run in .* was made by a version of hyper'):
    bench.run(values=values, timeout_secs=0.0)


def test_a_run_with_other_flags_is_refused(bench: Any) -> None:
  """Its variables may fit all the same; with other activations, say, the numbers were wrong."""
  bench.save(5, 0.5)
  values = flags.defaults()
  flags_file.write_flags(str(bench.folder), values)
  with pytest.raises(InputError) as caught:
    bench.run(values=values | {'cnn_activation': 'lrelu'}, timeout_secs=0.0)
  assert str(caught.value) == (
    f'none of the checkpoints in {bench.folder} can be evaluated (1 tried): its run has other '
    "flags: --cnn_activation was 'relu', is 'lrelu'. Use the flags of the run (flags.json there "
    'lists them), or another --train_log_dir.'
  )
  bench.run(values=values)
  assert bench.steps() == [5]


def test_it_ends_if_every_checkpoint_is_of_another_model(bench: Any) -> None:
  for step in (5, 10, 15, 20):
    bench.save(step, 0.5, shape=(2,))
  with pytest.raises(
    InputError, match=r'\(3 tried\): it is of another model than these flags make'
  ):
    bench.run(timeout_secs=0.0)
  assert len(bench.warnings()) == 2


def test_it_ends_if_the_last_checkpoint_is_of_another_model(bench: Any) -> None:
  bench.save(5, 0.5, shape=(2,))
  with pytest.raises(
    InputError, match=r'\(1 tried\): it is of another model than these flags make'
  ):
    bench.run(train_steps=5, timeout_secs=0.0)


def test_nothing_but_damaged_checkpoints_is_an_error_at_the_time_out(bench: Any) -> None:
  """Not before: what cannot be read may be on its way."""
  pathlib.Path(f'{bench.save(5, 0.5)}.index').write_bytes(b'')
  with pytest.raises(InputError, match=r'\(1 tried\): it cannot be read, half-written or damaged'):
    bench.run(train_steps=5)
  assert any('No new checkpoint' in line for line in bench.lines)


def test_a_checkpoint_that_could_not_be_copied_is_tried_again_at_the_end(
  bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
  """It comes after that of the last step then, which ends the evaluator."""
  for step in (5, 10):
    bench.save(step, 0.5)
  copy = shutil.copy2

  def full(source: str, target: str) -> None:
    if 'model-5' in source and not bench.evaluator.evaluated:
      raise OSError(28, 'No space left on device')
    copy(source, target)

  monkeypatch.setattr(shutil, 'copy2', full)
  bench.run(train_steps=10, presets=('test',), timeout_secs=0.0)
  assert bench.steps() == [10, 5]


def test_a_checkpoint_that_cannot_be_restored_is_left_out(
  bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
  """Its variables may have the names and shapes of the model's, and another type."""
  for step in (5, 10):
    bench.save(step, 0.5)
  restore = bench.evaluator.restore

  def fail(prefix: str) -> None:
    if prefix.endswith('model-5'):
      raise tf.errors.InvalidArgumentError(None, None, 'tensor of another type')
    restore(prefix)

  monkeypatch.setattr(bench.evaluator, 'restore', fail)
  bench.run()
  assert bench.steps() == [10]
  assert_left_out(bench, 5, 'it cannot be restored into the model (tensor of another type)')


def test_a_copy_that_is_deleted_is_made_again(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
  """Of the copy, the data may be gone and the index still there."""
  bench.save(5, 0.5)
  unreadable = checkpoints.unreadable
  deleted = []

  def delete(prefix: str) -> str:
    if not deleted:
      deleted.append(prefix)
      pathlib.Path(f'{prefix}.data-00000-of-00001').unlink()
    return unreadable(prefix)

  monkeypatch.setattr(checkpoints, 'unreadable', delete)
  bench.run()
  assert bench.steps() == [5]
  (warning,) = bench.warnings()
  assert f'its copy in {bench.folder}/eval was deleted; it is tried again' in warning


def test_a_checkpoint_that_cannot_be_copied_is_left_out(
  bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
  for step in (5, 10):
    bench.save(step, 0.5)
  copy = shutil.copy2

  def full(source: str, target: str) -> None:
    if 'model-5' in source:
      raise OSError(28, 'No space left on device')
    copy(source, target)

  monkeypatch.setattr(shutil, 'copy2', full)
  for ending in ({'train_steps': 10}, {}):
    with pytest.raises(InputError, match=r'1 checkpoints could not be evaluated, such as'):
      bench.run(presets=('test',), **ending)
  assert bench.steps() == [10]
  bench.lines.remove(bench.warnings()[0])
  assert_left_out(
    bench, 5, f'it cannot be copied to {bench.folder}/eval ([Errno 28] No space left on device)'
  )
