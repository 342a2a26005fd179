"""Runs are read from their directories, and grouped."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Callable

import numpy as np
import pytest

from hypertransformer.errors import InputError
from hypertransformer.reports import runs, tables
from hypertransformer.reports.runs import Curve

from .conftest import Make, result

RESULTS = pathlib.Path(__file__).parents[2] / 'experiments' / 'results'


def test_a_run_is_read(make_run: Make) -> None:
  folder = make_run('a', 7, [result('test', 2000, 0.7)])
  (folder / 'machines.jsonl').write_text('{"from_step": 0, "machine": "a laptop"}\n')
  (found,) = runs.read_runs([str(folder)])
  assert (found.name, found.settings.run.seed, found.settings.model.num_labels) == ('a', 7, 20)
  assert [line['accuracy'] for line in found.results] == [0.7]
  assert found.machines == ['a laptop']
  assert found.version != ''
  assert set(found.curves) == {'test episodes', 'training episodes'}
  curve = found.curves['test episodes']
  assert curve.steps.tolist() == list(range(100, 2001, 100))
  np.testing.assert_allclose(curve.values, np.arange(1, 21) / 100, rtol=1e-6)
  assert (found.last_step, found.steps_per_second) == (2000, 50.0)
  assert found.cpu_hours == pytest.approx(200 / 3600)


def test_what_the_campaign_keeps_is_read() -> None:
  (found,) = runs.read_runs([str(RESULTS / 'omniglot_1shot_v1')])
  assert (found.last_step, found.cpu_hours) == (500_000, 1.49)
  assert set(found.curves) == {'test episodes', 'training episodes'}
  assert found.curves['test episodes'].steps[:2].tolist() == [2000, 4000]
  assert found.curves['test episodes'].values[0] == pytest.approx(0.081)


def test_cpu_seconds_of_resumed_runs_add_up() -> None:
  for seconds, total in (([5.0, 9.0, 2.0, 4.0], 13.0), ([5.0, 1.0, 0.5], 6.5), ([3.0], 3.0)):
    assert runs.total_of_processes(np.array(seconds)) == total


def test_means_over_windows_leave_out_a_window_that_is_not_full() -> None:
  found = Curve(np.arange(100, 1001, 100), np.arange(10.0)).means(300)
  assert found.steps.tolist() == [300, 600, 900]
  assert found.values.tolist() == [1.0, 4.0, 7.0]


@pytest.mark.parametrize(
  ('damage', 'message'),
  [
    (lambda folder: (folder / 'flags.json').unlink(), r'flags\.json is missing'),
    (lambda folder: (folder / 'results.jsonl').write_text('{"step": 3}\n'), 'nothing to report'),
    (lambda folder: (folder / 'curve.csv').write_text('a,b\n1,x\n'), r'curve\.csv'),
    (lambda folder: (folder / 'curve.csv').write_text('steps up to,a\n'), r'curve\.csv'),
    (lambda folder: (folder / 'curve.csv').write_text('steps up to,a\n5,1\n3,1\n'), r'curve\.csv'),
    (lambda folder: (folder / 'run.json').write_text('[]'), r'run\.json'),
    (lambda folder: (folder / 'run.json').write_text('[' * 10**5), r'run\.json'),
    (lambda folder: (folder / 'run.json').write_text('{"cpu_hours": [1]}'), r'run\.json'),
    (lambda folder: os.mkfifo(folder / 'run.json'), r'run\.json is damaged \(not a regular'),
    (lambda folder: os.mkfifo(folder / 'curve.csv'), r'curve\.csv is damaged \(not a regular'),
    (lambda folder: None, 'nothing to report'),
  ],
)
def test_damaged_directories_are_refused(make_run: Make, damage: Callable, message: str) -> None:
  lines = [result('test', 10, 0.5)] if 'run' in message or 'not a' in message else []
  folder = make_run('a', 1, lines, records=0)
  damage(folder)
  with pytest.raises(InputError, match=message):
    runs.read_runs([str(folder)])


def test_directories_that_are_missing_given_twice_or_around_runs(
  make_run: Make, tmp_path: pathlib.Path
) -> None:
  folder = make_run('a')
  for given, message in (
    ([str(tmp_path / 'nowhere')], 'nowhere'),
    ([str(folder), f'{folder}/'], 'twice'),
    ([str(tmp_path)], f'{tmp_path} holds no run .*{folder}'),
  ):
    with pytest.raises(InputError, match=message):
      runs.read_runs(given)


def test_runs_that_differ_in_the_seed_only_are_one_group(three_runs: list[pathlib.Path]) -> None:
  """What flags.json notes beside the flags does not separate them."""
  file = three_runs[0] / 'flags.json'
  file.write_text(json.dumps(json.loads(file.read_text()) | {'classes': {'train_dataset': {}}}))
  found = runs.group(runs.read_runs([str(folder) for folder in three_runs]))
  assert [(each.name, len(each.runs)) for each in found] == [('base', 2), ('fast <b>&', 1)]
  table = next(each for each in tables.tables(found, []) if '--learning_rate' in each.frame)
  assert table.frame.to_numpy().tolist() == [['base', '0.001'], ['fast <b>&', '0.08']]


def test_the_name_of_a_group_is_what_its_runs_have_in_common() -> None:
  for names, common in (
    (['quick_none_1', 'quick_none_2'], 'quick_none'),
    (['one', 'two'], 'one and two'),
    (['quick', 'q_1', 'qx'], 'quick and others'),
    (['a/seed1', 'a/seed2'], 'a'),
    (['seed3'], 'seed3'),
  ):
    assert runs.common_name(names) == common
