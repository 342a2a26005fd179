"""What the evaluator keeps: the best checkpoint, and results, so that nothing is done twice."""

from __future__ import annotations

import os
import pathlib
import time
from typing import Any

import pytest
import tensorflow.compat.v1 as tf

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
