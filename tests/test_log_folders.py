"""Log folders of earlier versions go on: training, evaluation and learners take what commit 862113c
left, and the numbers are those that it would have found.
"""

from __future__ import annotations

import json
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hypertransformer import evaluate_model, report
from hypertransformer.learners import FewShotLearner
from hypertransformer.settings import flags, from_flags

SAVED = pathlib.Path(__file__).parent / 'golden' / 'log_folder_862113c'


@pytest.fixture
def run(
  tmp_path: pathlib.Path, data_folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[pathlib.Path, dict[str, Any]]:
  """A copy of the folder, and the flags of its run, paths as they were given then: relative."""
  shutil.copytree(SAVED / 'run', tmp_path / 'run')
  (tmp_path / 'data').symlink_to(data_folder)
  monkeypatch.chdir(tmp_path)
  return tmp_path / 'run', flags.defaults() | json.loads((SAVED / 'run/flags.json').read_text())


def test_the_flags_file_is_of_a_version_that_did_not_say_its_name(run: Any) -> None:
  assert 'hypertransformer_version' not in run[1]


def test_training_goes_on_as_it_would_have(
  run: Any,
  run_training: Callable[[Any], int],
  read_variables: Callable[[str], dict[str, np.ndarray]],
) -> None:
  folder, values = run
  assert run_training(values | {'train_steps': 6}) == 6
  found = read_variables(str(folder / 'model-6'))
  with np.load(SAVED / 'model-6.npz') as expected:
    assert sorted(found) == sorted(expected.files)
    for name, value in found.items():
      np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_the_evaluator_repeats_nothing_and_adds_to_the_results(
  run: Any, run_training: Callable[[Any], int], capsys: pytest.CaptureFixture[str]
) -> None:
  folder, values = run
  results = folder / 'eval' / 'results.jsonl'
  before = results.read_text()
  evaluate_model.main(from_flags.settings_from(values))
  assert results.read_text() == before
  values = values | {'train_steps': 6}
  run_training(values)
  evaluate_model.main(from_flags.settings_from(values))
  lines = results.read_text().removeprefix(before).splitlines()
  steps = [json.loads(line)['step'] for line in lines]
  assert steps == [4, 6], 'a resumed training saves the checkpoint that it starts from again'
  assert set(json.loads(lines[0])) > set(json.loads(before.splitlines()[0]))
  capsys.readouterr()
  report.main(from_flags.settings_from(values))
  assert ' 6 ' in capsys.readouterr().out


def test_an_evaluation_finds_the_accuracy_that_was_found(run: Any) -> None:
  folder, values = run
  results = folder / 'eval' / 'results.jsonl'
  before = {line['step']: line for line in map(json.loads, results.read_text().splitlines())}
  results.unlink()
  evaluate_model.main(from_flags.settings_from(values))
  for line in map(json.loads, results.read_text().splitlines()):
    for name in ('accuracy', 'ci95', 'accuracy_disjoint'):
      assert line[name] == pytest.approx(before[line['step']][name], abs=1e-6)


def test_a_learner_opens_its_checkpoint(run: Any, tiny: np.ndarray) -> None:
  with FewShotLearner(run[0]) as learner:
    learner.fit(np.concatenate(tiny[20:23, :2]), np.repeat([7, 8, 9], 2))
    found = learner.scores(np.concatenate(tiny[20:23, 2:5]))
  np.testing.assert_allclose(found, np.load(SAVED / 'scores.npy'), rtol=1e-4, atol=1e-5)
