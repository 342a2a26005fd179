"""Reading runs from folders, and what is said of folders that hold none."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable

import pytest

from hypertransformer.errors import InputError
from hypertransformer.reports import runs
from hypertransformer.runtime import run_folder

from .conftest import result

Make = Callable[..., pathlib.Path]
RESULTS = pathlib.Path(__file__).parents[2] / 'experiments' / 'results'


def test_a_run_is_read(make_run: Make) -> None:
  folder = make_run('a', 7, [result('test', 2000, 0.7)])
  run_folder.note_machine(str(folder), 0)
  (found,) = runs.read_runs([str(folder)])
  assert (found.name, found.facts.seed, found.facts.way) == ('a', 7, 20)
  assert [line['accuracy'] for line in found.results] == [0.7]
  assert found.machines == [run_folder.describe_machine()]
  assert found.version != ''


def test_what_the_campaign_keeps_is_read() -> None:
  (found,) = runs.read_runs([str(RESULTS / 'omniglot_1shot_20k_v1_seed1')])
  assert found.recorded.last_step == 20_000
  assert set(found.recorded.accuracies) == {'test episodes', 'training episodes'}
  assert all(0 <= v <= 1 for v in found.recorded.accuracies['test episodes'].values)


@pytest.mark.parametrize('name', ['run.json', 'campaign.json'])
def test_cpu_time_that_the_campaign_counted(make_run: Make, name: str) -> None:
  folder = make_run('a', 1, [result('test', 2000, 0.7)], records=0)
  (folder / name).write_text(json.dumps({'cpu_hours': 0.5, 'cpu_seconds': 1800}))
  (found,) = runs.read_runs([str(folder)])
  assert found.recorded.cpu_hours == 0.5


def _broken_flags(folder: pathlib.Path) -> None:
  (folder / 'flags.json').write_text('{')


def _no_flags(folder: pathlib.Path) -> None:
  (folder / 'flags.json').unlink()


def _broken_results(folder: pathlib.Path) -> None:
  (folder / 'eval' / 'results.jsonl').write_text('{"step": 3}\n')


def _broken_curve(folder: pathlib.Path) -> None:
  (folder / 'curve.csv').write_text('a,b\n1,x\n')


@pytest.mark.parametrize(
  ('damage', 'message'),
  [
    (_broken_flags, r'flags\.json cannot be read as JSON'),
    (_no_flags, r'holds no run \(flags\.json is missing\): give the --train_log_dir'),
    (_broken_results, 'there is nothing to report yet'),
    (_broken_curve, r'curve\.csv cannot be read as a table of curves'),
    (lambda folder: None, 'there is nothing to report yet'),
  ],
)
def test_damaged_folders_are_refused(make_run: Make, damage: Callable, message: str) -> None:
  folder = make_run('a', records=0)
  damage(folder)
  with pytest.raises(InputError, match=message):
    runs.read_runs([str(folder)])


def test_folders_that_are_not_there_twice_or_around_runs(
  make_run: Make, tmp_path: pathlib.Path
) -> None:
  folder = make_run('a')
  with pytest.raises(InputError, match=r'there is no folder .*nowhere'):
    runs.read_runs([str(tmp_path / 'nowhere')])
  with pytest.raises(InputError, match='is given twice'):
    runs.read_runs([str(folder), f'{folder}/'])
  with pytest.raises(InputError, match=r'its folders a are runs: give these'):
    runs.read_runs([str(tmp_path)])


def test_names_are_the_shortest_ends_that_differ() -> None:
  names = runs.short_names([pathlib.Path('/x/a/logs'), pathlib.Path('/x/b/logs')])
  assert names == ['a/logs', 'b/logs']
  assert runs.short_names([pathlib.Path('/x/a')]) == ['a']
