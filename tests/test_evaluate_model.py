"""The evaluator's entry point: presets from flags, one evaluation of a real checkpoint, how it ends."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from hypertransformer import evaluate_model
from hypertransformer.errors import InputError
from hypertransformer.evaluate.daemon import Daemon
from hypertransformer.evaluate.tasks import Preset, TaskEvaluator


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
  """`main` takes over SIGTERM."""
  before = signal.getsignal(signal.SIGTERM)
  yield
  signal.signal(signal.SIGTERM, before)


def described(presets: list[Preset]) -> list[tuple[str, str, list[int]]]:
  return [(preset.name, preset.dataset, preset.class_set.classes.tolist()) for preset in presets]


def test_presets_are_the_train_and_test_dataset_by_default(make_values: Callable[..., Any]) -> None:
  values = make_values(train_dataset='tiny', use_labels=4)
  assert described(evaluate_model.presets_from(values)) == [
      ('train', 'tiny', [0, 1, 2, 3]), ('test', 'tiny:20-29', list(range(20, 30)))]


def test_presets_with_names_of_their_own(make_values: Callable[..., Any]) -> None:
  values = make_values(eval_datasets='test=tiny:20-29,mine=tiny:1,3,5-6')
  assert described(evaluate_model.presets_from(values)) == [
      ('test', 'tiny:20-29', list(range(20, 30))), ('mine', 'tiny:1,3,5-6', [1, 3, 5, 6])]


def test_presets_share_one_copy_of_the_data_with_its_classes_shuffled(make_values: Callable[..., Any]) -> None:
  first, second = evaluate_model.presets_from(make_values(eval_datasets='a=tiny:0-4,b=tiny:5-9',
                                                          shuffle_labels_seed=3))
  assert first.class_set.arrays is second.class_set.arrays
  assert first.class_set.arrays.starts.tolist() != sorted(first.class_set.arrays.starts.tolist())


@pytest.mark.parametrize(('datasets', 'message'), [
    ('test=tiny:20-30', r"labels 20-30 of dataset 'tiny' are asked for, but it has the classes 0-29"),
    ('tiny', r"'tiny' has no presets"),
    ('omniglot', r"dataset 'omniglot' is not there")])
def test_presets_that_cannot_be(make_values: Callable[..., Any], datasets: str, message: str) -> None:
  with pytest.raises(InputError, match=message):
    evaluate_model.presets_from(make_values(eval_datasets=datasets))


def test_pretraining_has_nothing_to_evaluate(make_values: Callable[..., Any], tmp_path: pathlib.Path) -> None:
  with pytest.raises(InputError, match=r'pretrain_shared_feature trains no CNN: there is nothing to evaluate\. '
                                       r'Evaluate the run that starts from it \(--restore_shared_features_from\)'):
    evaluate_model.main(make_values(pretrain_shared_feature=True, train_log_dir=str(tmp_path / 'logs')))
  assert not (tmp_path / 'logs').exists()


def test_the_training_s_flags_evaluate_its_checkpoints(trained: Any, tmp_path: pathlib.Path) -> None:
  """All that are there, up to train_steps, on the given classes; a second time there is nothing to do."""
  folder = tmp_path / 'logs'
  shutil.copytree(trained.folder, folder)
  values = trained.values | {'train_log_dir': str(folder), 'eval_datasets': 'test=tiny:20-29'}
  evaluate_model.main(values)
  lines = [json.loads(line) for line in (folder / 'eval' / 'results.jsonl').read_text().splitlines()]
  assert [(line['checkpoint'], line['step']) for line in lines] == [
      (str(folder / f'model-{step}'), step) for step in (0, 3, 6)]
  for line in lines:
    assert (line['preset'], line['dataset'], line['num_tasks'], line['num_queries']) == ('test', 'tiny:20-29', 4, 18)
    assert 0.0 <= line['accuracy'] <= 1.0
    assert line['accuracy'] * 4 * 18 == pytest.approx(round(line['accuracy'] * 4 * 18), abs=1e-4)
  evaluate_model.main(values)
  assert len((folder / 'eval' / 'results.jsonl').read_text().splitlines()) == 3


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> list[str]:
  """Builds no graph; notes what is closed."""
  closed: list[str] = []
  monkeypatch.setattr(TaskEvaluator, '__init__', lambda self, *args: None)
  monkeypatch.setattr(TaskEvaluator, 'close', lambda self: closed.append('closed'))
  monkeypatch.setattr(Daemon, '__init__', lambda self, *args: None)
  return closed


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_without_an_error(make_values: Callable[..., Any], monkeypatch: pytest.MonkeyPatch,
                                           stand_in: list[str], number: int) -> None:
  monkeypatch.setattr(Daemon, 'run', lambda self, train_steps: os.kill(os.getpid(), number))
  evaluate_model.main(make_values())
  assert stand_in == ['closed']


def test_it_runs_to_train_steps(make_values: Callable[..., Any], monkeypatch: pytest.MonkeyPatch,
                                stand_in: list[str]) -> None:
  told = []
  monkeypatch.setattr(Daemon, 'run', lambda self, train_steps: told.append(train_steps))
  evaluate_model.main(make_values(train_steps=77))
  assert told == [77]
