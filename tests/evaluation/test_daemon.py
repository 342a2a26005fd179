"""The evaluator that runs beside a training: what it evaluates, what it writes, when it ends."""

from __future__ import annotations

import hashlib
import math
import pathlib
import re
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tqdm

from hypertransformer.errors import InputError
from hypertransformer.evaluation.task_evaluator import Scores


def test_there_is_a_line_per_checkpoint_and_preset(bench: Any) -> None:
  for step, accuracy in ((5, 0.25), (10, 0.5)):
    bench.save(step, accuracy)
  bench.run(presets=('train', 'val'))
  assert [(line['step'], line['preset'], line['accuracy']) for line in bench.results()] == [
    (5, 'train', 0.375),
    (5, 'val', 0.25),
    (10, 'train', 0.625),
    (10, 'val', 0.5),
  ]


def test_a_line_has_these_keys_and_values(bench: Any) -> None:
  prefix = bench.save(5, 0.5)
  bench.evaluator.during = lambda preset, number: time.sleep(0.05)
  bench.run()
  (line,) = bench.results()
  assert list(line) == [
    'checkpoint',
    'step',
    'preset',
    'dataset',
    'accuracy',
    'ci95',
    'num_tasks',
    'num_queries',
    'accuracy_disjoint',
    'ci95_disjoint',
    'seconds',
    'checkpoint_sha256',
    'measured',
  ]
  seconds, on = line.pop('seconds'), line.pop('measured')
  assert (on['dataset'], on['ways'], on['support_images'], on['seed']) == ('tiny:val', 4, 32, None)
  assert (on['tasks'], on['query_images'], on['query_batch_size']) == (4, 100, 50)
  assert 0.05 <= seconds < 5
  # Accuracies 1/4, 1/2, 1/2, 3/4: s^2 = 2/16 / 3. Disjoint: 1/4 and 1/2 (the other two tasks have
  # none): s^2 = 1/32.
  assert line == {
    'checkpoint': 'model-5',
    'checkpoint_sha256': hashlib.sha256(pathlib.Path(f'{prefix}.index').read_bytes()).hexdigest(),
    'step': 5,
    'preset': 'val',
    'dataset': 'tiny:val',
    'accuracy': 0.5,
    'ci95': pytest.approx(1.959964 * math.sqrt(1 / 24 / 4)),
    'num_tasks': 4,
    'num_queries': 100,
    'accuracy_disjoint': 0.375,
    'ci95_disjoint': pytest.approx(1.959964 * math.sqrt(1 / 32 / 2)),
  }


def test_without_query_images_outside_the_support_there_is_no_disjoint_accuracy(bench: Any) -> None:
  bench.save(5, 0.5)
  bench.evaluator.evaluate = lambda preset, progress: Scores(  # type: ignore[method-assign]
    np.array([0.5]), np.array([np.nan])
  )
  bench.run(num_episodes=1)
  (line,) = bench.results()
  assert (line['accuracy_disjoint'], line['ci95_disjoint'], line['ci95']) == (None, None, None)


def test_tensorboard_has_the_accuracies_at_the_steps(
  bench: Any, read_events: Callable[[pathlib.Path], Any]
) -> None:
  for step, accuracy in ((5, 0.25), (10, 0.5)):
    bench.save(step, accuracy)
  bench.run(presets=('train', 'val', 'test'))
  assert read_events(bench.folder / 'eval').scalars == {
    'eval_accuracy/train': {5: 0.375, 10: 0.625},
    'eval_accuracy/val': {5: 0.25, 10: 0.5},
    'eval_accuracy/test': {5: 0.25, 10: 0.5},
    **{
      f'eval_accuracy_disjoint/{name}': {5: 0.375, 10: 0.375} for name in ('train', 'val', 'test')
    },
  }


def test_it_ends_with_the_checkpoint_of_train_steps(bench: Any) -> None:
  """It does not wait for the time-out. Checkpoints are taken by step, in whatever order saved."""
  for step in (10, 5, 20):
    bench.save(step, 0.5)
  bench.run(train_steps=20, timeout_secs=20.0)
  assert bench.steps() == [5, 10, 20]
  assert bench.lines[-1] == 'Checkpoint 20 of train_steps=20 is evaluated: done.'


def test_new_checkpoints_are_taken_as_they_appear(bench: Any) -> None:
  bench.save(5, 0.5)

  def train_on(preset: str, number: int) -> None:
    if number < 3:
      bench.save(5 + 5 * number, 0.5)

  bench.evaluator.during = train_on
  bench.run(train_steps=15, timeout_secs=20.0)
  assert bench.steps() == [5, 10, 15]
  assert bench.lines[-1] == 'Checkpoint 15 of train_steps=15 is evaluated: done.'


def test_it_ends_when_nothing_new_comes(bench: Any) -> None:
  start = time.monotonic()
  bench.run(timeout_secs=1.5)
  # TensorFlow looks once a second, and not after the time-out.
  assert 0.4 <= time.monotonic() - start < 10
  assert bench.steps() == []
  assert 'No new checkpoint for 1.5 s (--eval_timeout_secs): ending.' in bench.lines


def test_eval_once_takes_the_newest_checkpoint(bench: Any) -> None:
  for step in (5, 20, 10):
    bench.save(step, 0.5)
  bench.run(once=True, timeout_secs=0.0)
  assert bench.steps() == [20]


def test_eval_once_without_a_checkpoint_is_refused(bench: Any) -> None:
  with pytest.raises(
    InputError,
    match=r'/logs holds no readable checkpoint model-<step>: train first, or correct '
    r'--train_log_dir',
  ):
    bench.run(once=True)


def test_eval_checkpoint_takes_that_checkpoint_only(bench: Any, tmp_path: pathlib.Path) -> None:
  (tmp_path / 'other').mkdir()
  bench.save(5, 0.5)
  prefix = bench.save(7, 0.25, folder=tmp_path / 'other')
  bench.run(checkpoint=prefix, timeout_secs=0.0)
  assert [(line['checkpoint'], line['step'], line['accuracy']) for line in bench.results()] == [
    (prefix, 7, 0.25)
  ]


@pytest.mark.parametrize(
  'path', ['model-5', 'model-5.index', 'model-5.data-00000-of-00001', 'model-5.meta', '.', '']
)
def test_eval_checkpoint_takes_a_file_of_it_or_its_folder_as_well(bench: Any, path: str) -> None:
  bench.save(3, 0.25)
  bench.save(5, 0.5)
  bench.run(checkpoint=str(bench.folder / path), timeout_secs=0.0)
  assert [(line['checkpoint'], line['step']) for line in bench.results()] == [('model-5', 5)]


@pytest.mark.parametrize('path', ['model-6', 'model-6.index', 'none/model-5'])
def test_eval_checkpoint_that_is_not_there_is_refused(bench: Any, path: str) -> None:
  bench.save(5, 0.5)
  with pytest.raises(InputError, match=r'--eval_checkpoint=.*/model-\d is not there'):
    bench.run(checkpoint=str(bench.folder / path))
  assert not (bench.folder / 'eval').exists()


def test_no_copies_are_left_behind(bench: Any) -> None:
  bench.save(5, 0.5)
  bench.run()
  assert {
    path.name for path in (bench.folder / 'eval').iterdir() if not path.name.startswith('events.')
  } == {'results.jsonl', 'flags.json'}


def test_a_folder_that_cannot_be_made_is_refused(bench: Any) -> None:
  bench.folder = bench.folder / 'file'
  bench.folder.touch()
  with pytest.raises(InputError, match=r'/file/eval cannot be made: .*correct --train_log_dir'):
    bench.run()


def test_progress_and_result_are_logged(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
  bench.save(5, 0.5)
  clock = [0.0]
  monkeypatch.setattr(tqdm.std, 'time', lambda: clock[0])

  def wait(preset: str, number: int) -> None:
    clock[0] += 20.0

  bench.evaluator.during = wait
  bench.run(once=True)
  assert any(re.match('step 5 val: 1/4 tasks, accuracy 50.0 %,', line) for line in bench.lines)
  assert any(line.startswith('step 5  val: 50.00 +- ') for line in bench.lines)
