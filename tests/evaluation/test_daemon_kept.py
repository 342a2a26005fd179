"""What the evaluator keeps: the best checkpoint, and results, so that nothing is done twice."""

from __future__ import annotations

import errno
import json
import os
import pathlib
import time
from typing import Any

import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.errors import InputError
from hypertransformer.evaluation import snapshots
from hypertransformer.evaluation.measured import ResultFile
from hypertransformer.runtime import checkpoints
from hypertransformer.settings import flags

# The best checkpoint.


def test_the_best_validation_checkpoint_is_kept(bench: Any) -> None:
  for step, accuracy in ((5, 0.25), (10, 0.625), (15, 0.5)):
    bench.save(step, accuracy)
  bench.run(presets=('test', 'val'))
  best = bench.folder / 'best'
  assert bench.best() == next(
    line for line in bench.results() if line['step'] == 10 and line['preset'] == 'val'
  )
  assert checkpoints.find(str(best)) == {10: str(best / 'model-10')}
  assert tf.train.load_checkpoint(str(best)).get_tensor('accuracy') == 0.625
  assert sorted(path.suffix for path in best.iterdir() if path.suffix == '.part') == []


def test_a_later_evaluator_replaces_the_best_by_a_better_one_only(bench: Any) -> None:
  for step, accuracy, kept in ((5, 0.5, 5), (10, 0.25, 5), (15, 0.75, 15)):
    bench.save(step, accuracy)
    bench.run(once=True)
    assert bench.best()['step'] == kept


def test_without_a_validation_preset_no_best_checkpoint_is_kept(bench: Any) -> None:
  bench.save(5, 0.5)
  bench.run(presets=('test',))
  assert not (bench.folder / 'best').exists()
  assert "No preset is named 'val': no best checkpoint is kept." in bench.lines


def test_a_crash_while_the_best_is_kept_is_made_good(
  bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
  """No result was written yet, so the next evaluator evaluates the checkpoint again."""
  bench.save(5, 0.5)
  replace = os.replace
  with monkeypatch.context() as patch:
    patch.setattr(os, 'replace', lambda source, target: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
      bench.run()
  assert os.replace is replace
  assert bench.steps() == []
  bench.run()
  assert bench.best()['step'] == 5


# What is done is not done again.


def test_a_second_evaluator_does_not_repeat_what_is_done(bench: Any) -> None:
  bench.save(5, 0.5)
  bench.run(presets=('val',))
  bench.save(10, 0.5)
  bench.run(presets=('val', 'test'))
  assert [(line['step'], line['preset']) for line in bench.results()] == [
    (5, 'val'),
    (5, 'test'),
    (10, 'val'),
    (10, 'test'),
  ]
  assert any(
    line.startswith('val at step 5 is in ') and line.endswith(' already.') for line in bench.lines
  )


def test_a_checkpoint_that_is_written_once_more_unchanged_is_not_repeated(bench: Any) -> None:
  """A training that resumes while the evaluator is running does this."""
  bench.save(5, 0.5)

  def resume(preset: str, number: int) -> None:
    if number == 1:
      later = time.time() + 10
      os.utime(bench.save(5, 0.5) + '.index', (later, later))
      bench.save(10, 0.25)

  bench.evaluator.during = resume
  bench.run(train_steps=10, timeout_secs=20.0)
  assert bench.steps() == [5, 10]


def test_other_numbers_of_tasks_are_evaluated_anew(bench: Any) -> None:
  bench.save(5, 0.5)
  bench.run()
  bench.run(num_batches=1)
  bench.run(num_batches=1)
  assert [line['num_queries'] for line in bench.results()] == [100, 50]


def test_other_settings_are_evaluated_anew_unless_they_are_of_training_only(bench: Any) -> None:
  bench.save(5, 0.5)
  values = flags.defaults()
  for changes in (
    {},
    {'learning_rate': 9.0, 'train_steps': 7},
    {'disjoint_query': True},
    {'disjoint_query': True},
  ):
    bench.run(values=values | changes)
  assert bench.steps() == [5, 5]


def test_a_checkpoint_that_is_asked_for_is_evaluated_in_any_case(bench: Any) -> None:
  prefix = bench.save(5, 0.5)
  for config in ({'once': True}, {'once': True}, {'checkpoint': prefix}):
    bench.run(**config)
  assert bench.steps() == [5, 5, 5]


def test_a_checkpoint_that_is_younger_than_the_results_is_evaluated_anew(bench: Any) -> None:
  """A new training in the same folder makes all its checkpoints anew, not only the first."""
  for step in (5, 10):
    bench.save(step, 0.25)
  bench.run()
  later = time.time() + 10
  for step in (5, 10):
    os.utime(bench.save(step, 0.5) + '.index', (later, later))
  bench.run()
  assert [(line['step'], line['accuracy']) for line in bench.results()] == [
    (5, 0.25),
    (10, 0.25),
    (5, 0.5),
    (10, 0.5),
  ]


def test_the_same_step_of_another_run_does_not_count_as_done(
  bench: Any, tmp_path: pathlib.Path
) -> None:
  (tmp_path / 'other').mkdir()
  other = bench.save(5, 0.25, folder=tmp_path / 'other')
  bench.save(5, 0.5)
  bench.run()
  bench.run(checkpoint=other)
  assert [line['accuracy'] for line in bench.results()] == [0.5, 0.25]


@pytest.mark.parametrize('shift', [-1e6, 0.0, 1e6], ids=['past', 'present', 'future'])
def test_the_time_of_a_checkpoint_says_nothing(bench: Any, shift: float) -> None:
  """Clocks differ between machines. What counts is the content: that of a backup is another one."""
  path = bench.save(5, 0.25) + '.index'
  os.utime(path, (time.time() + shift,) * 2)
  for _ in range(3):
    bench.run()
  assert bench.steps() == [5]
  os.utime(bench.save(5, 0.5) + '.index', (time.time() + shift,) * 2)
  for _ in range(2):
    bench.run()
  assert [line['accuracy'] for line in bench.results()] == [0.25, 0.5]


def test_a_folder_that_was_moved_is_not_evaluated_again(bench: Any) -> None:
  bench.save(5, 0.5)
  bench.run()
  bench.folder = bench.folder.rename(bench.folder.with_name('elsewhere'))
  bench.run()
  assert bench.steps() == [5]
  assert [line['checkpoint'] for line in bench.results()] == ['model-5']
  state = tf.train.get_checkpoint_state(str(bench.folder / 'best'))
  assert state.model_checkpoint_path == str(bench.folder / 'best' / 'model-5')


def test_the_file_checkpoint_is_not_asked(bench: Any) -> None:
  """In a container the trainer writes paths into it that are not there outside."""
  bench.save(5, 0.5)

  def train_on(preset: str, number: int) -> None:
    if number < 3:
      bench.save(5 + 5 * number, 0.5)
      state = bench.folder / 'checkpoint'
      state.write_text('model_checkpoint_path: "/container/logs/model-99"\n')

  bench.evaluator.during = train_on
  bench.run(train_steps=15, timeout_secs=20.0)
  assert bench.steps() == [5, 10, 15]


# What was measured on tells results apart.


@pytest.mark.parametrize(
  'changes',
  [{'samples_transformer': 160}, {'seed': 4}, {'test_negate_probability': 0.5}],
  ids=['shots', 'seed', 'augmentation'],
)
def test_another_evaluation_is_done_once_and_the_best_stays(
  bench: Any, changes: dict[str, Any]
) -> None:
  """Coming back to the first one, nothing is repeated."""
  bench.save(5, 0.5)
  values = flags.defaults()
  bench.run(values=values)
  bench.save(10, 0.75)
  bench.run(values=values | changes)
  bench.run(values=values | changes)
  assert bench.steps() == [5, 5, 10]
  assert bench.best()['step'] == 5
  assert any('of another evaluation' in line and 'it stays' in line for line in bench.lines)
  bench.run(values=values)
  bench.run(values=values | changes)
  assert bench.steps() == [5, 5, 10, 10]
  assert bench.best()['step'] == 10


def strip(folder: pathlib.Path) -> None:
  """Makes the lines of results those of an older version, and the checkpoints older than them."""
  path = folder / 'eval' / 'results.jsonl'
  lines = [json.loads(line) for line in path.read_text().splitlines()]
  for line in lines:
    del line['measured'], line['checkpoint_sha256']
    line['checkpoint'] = str(folder / line['checkpoint'])
  path.write_text(''.join(f'{json.dumps(line)}\n' for line in lines))
  for index in folder.glob('model-*'):
    os.utime(index, (1000, 1000))


def test_results_of_an_older_version_are_done_if_its_flags_are_the_same(bench: Any) -> None:
  """Its eval/flags.json says so, and stays as it is. In a moved folder, too."""
  bench.save(5, 0.5)
  values = flags.defaults()
  bench.run(values=values)
  strip(bench.folder)
  bench.folder = bench.folder.rename(bench.folder.with_name('elsewhere'))
  for _ in range(2):
    bench.run(values=values)
  assert bench.steps() == [5]
  for _ in range(2):
    bench.run(values=values | {'disjoint_query': True})
  assert bench.steps() == [5, 5]
  bench.run(values=values)
  assert bench.steps() == [5, 5, 5], 'there are newer lines: nobody knows how old the first one is'
  bench.run(values=values)
  assert bench.steps() == [5, 5, 5]


# What cannot be written.


def failing(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str) -> list[bool]:
  """Lets a function fail as on a full disk, until the list that is returned is cleared."""
  fails = [True]
  function = getattr(owner, name)

  def call(*args: Any, **named: Any) -> Any:
    if fails:
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return function(*args, **named)

  monkeypatch.setattr(owner, name, call)
  return fails


def test_a_result_that_cannot_be_written_is_written_with_the_next_one(
  bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
  for step in (5, 10):
    bench.save(step, 0.5)
  fails = failing(monkeypatch, ResultFile, 'append')
  bench.evaluator.during = lambda preset, number: fails.clear() if number == 2 else None
  bench.run()
  assert bench.steps() == [5, 10]
  assert [line for line in bench.lines if 'cannot be written' in line] == [
    f'{bench.folder}/eval/results.jsonl cannot be written (No space left on device): see that '
    'it can be written, with room on the disk; the result is kept in memory and written later.'
  ]


def test_results_that_could_never_be_written_are_an_error(
  bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
  for step in (5, 10):
    bench.save(step, 0.5)
  fails = failing(monkeypatch, ResultFile, 'append')
  with pytest.raises(InputError, match=r'2 results could not be written to .*results\.jsonl \('):
    bench.run()
  fails.clear()
  bench.run()
  assert bench.steps() == [5, 10]


def test_a_best_checkpoint_that_could_not_be_kept_is_kept_later(
  bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
  """With the next checkpoint, or by the next evaluator."""
  for step, accuracy in ((5, 0.75), (10, 0.5)):
    bench.save(step, accuracy)
  fails = failing(monkeypatch, snapshots, 'keep_best')
  bench.evaluator.during = lambda preset, number: fails.clear() if number == 2 else None
  bench.run()
  assert bench.best()['step'] == 5
  bench.save(15, 1.0)
  fails.append(True)
  bench.run()
  assert (bench.best()['step'], bench.steps()) == (5, [5, 10, 15])
  fails.clear()
  bench.run()
  assert (bench.best()['step'], bench.steps()) == (15, [5, 10, 15])


def test_a_signal_right_after_writing_does_not_write_twice(
  bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
  bench.save(5, 0.5)
  append = ResultFile.append

  def interrupted(file: ResultFile, found: Any) -> None:
    append(file, found)
    monkeypatch.undo()
    raise KeyboardInterrupt

  monkeypatch.setattr(ResultFile, 'append', interrupted)
  with pytest.raises(KeyboardInterrupt):
    bench.run()
  assert bench.steps() == [5]
