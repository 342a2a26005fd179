"""Groups of runs, the checkpoint that counts, intervals, chance and the paper's numbers."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hypertransformer.reports import groups, published, summary
from hypertransformer.reports.runs import read_runs
from hypertransformer.settings import flags

from .conftest import CONTINUAL, OMNIGLOT, result

Make = Callable[..., pathlib.Path]
SCRIPTS = pathlib.Path(__file__).parents[2] / 'scripts'


def rows_of(*folders: pathlib.Path) -> list[summary.Row]:
  return summary.rows(groups.group(read_runs([str(folder) for folder in folders])))


def test_runs_that_differ_in_the_seed_only_are_one_group(three_runs: list[pathlib.Path]) -> None:
  found = groups.group(read_runs([str(folder) for folder in three_runs]))
  assert [(each.name, len(each.runs)) for each in found] == [('base', 2), ('fast <b>&', 1)]
  assert groups.differences(found) == {'learning_rate': [0.001, 0.08]}


def test_what_flags_json_notes_beside_the_flags_does_not_part_runs(
  three_runs: list[pathlib.Path],
) -> None:
  """Older versions did not note the classes."""
  file = three_runs[0] / 'flags.json'
  file.write_text(json.dumps(json.loads(file.read_text()) | {'classes': {'train_dataset': {}}}))
  found = groups.group(read_runs([str(folder) for folder in three_runs]))
  assert [len(each.runs) for each in found] == [2, 1]


@pytest.mark.parametrize(
  ('names', 'common'),
  [
    (['a_seed1', 'a_seed2'], 'a'),
    (['quick_none_1', 'quick_none_2'], 'quick_none'),
    (['one', 'two'], 'one and others'),
    (['seed3'], 'seed3'),
  ],
)
def test_the_name_of_a_group_is_what_its_runs_have_in_common(names: list[str], common: str) -> None:
  assert groups.common_name(names) == common


def test_results_of_a_checkpoint_elsewhere_are_not_of_the_run(make_run: Make) -> None:
  """Of a model of the package, say, which was evaluated into this folder."""
  other = dataclasses.replace(result('test', 9000, 0.9), checkpoint='/models/best/model-9000')
  (row,) = rows_of(make_run('run', 1, [result('test', 1000, 0.5), other]))
  assert row.steps == [1000]


def test_the_best_checkpoint_on_val_counts_and_of_equal_ones_the_earliest(make_run: Make) -> None:
  steps = {1000: 0.5, 2000: 0.8, 3000: 0.8, 4000: 0.7}
  lines = [result('val', step, accuracy) for step, accuracy in steps.items()]
  lines += [result('test', step, step / 10_000) for step in steps]
  test, val = rows_of(make_run('a', 1, lines))
  assert (test.preset, test.steps, test.chosen) == ('test', [2000], 'best on val')
  assert test.accuracy == (0.2, 0.005)
  assert test.disjoint == (pytest.approx(0.19), 0.006)
  assert (val.accuracy[0], test.over, test.chance) == (0.8, 'tasks', 0.05)


def test_without_val_the_newest_checkpoint_counts(make_run: Make) -> None:
  (row,) = rows_of(make_run('a', 1, [result('test', 2000, 0.4), result('test', 1000, 0.6)]))
  assert (row.steps, row.chosen, row.accuracy[0]) == ([2000], 'newest', 0.4)


def test_an_interval_that_does_not_exist_and_an_unknown_accuracy(make_run: Make) -> None:
  line = result('test', 10, 0.4, ci95=math.nan, accuracy_disjoint=None, ci95_disjoint=None)
  (row,) = rows_of(make_run('a', 1, [line]))
  assert math.isnan(row.accuracy[1])
  assert row.disjoint is None


def test_of_several_seeds_the_interval_is_over_seeds(three_runs: list[pathlib.Path]) -> None:
  row = rows_of(*three_runs)[0]
  assert row.each == [0.72, 0.74]
  assert row.accuracy[0] == pytest.approx(0.73)
  # Two seeds: t = 12.706, the standard error of (0.72, 0.74) is 0.01.
  assert row.accuracy[1] == pytest.approx(0.12706)
  assert row.over == 'seeds'


def test_students_t_is_what_many_draws_say() -> None:
  """95 % of the intervals over five draws hold the true mean."""
  draws = np.random.default_rng(0).normal(size=(4000, 5))
  found = [summary.over_seeds(each) for each in draws]
  inside = np.mean([abs(mean) < half for mean, half in found])
  assert inside == pytest.approx(0.95, abs=0.012)
  assert list(summary.STUDENT_T) == sorted(summary.STUDENT_T, reverse=True)


def test_sequences_of_tasks_are_apart_from_single_tasks(make_run: Make) -> None:
  lines = [result('test', 10, 0.4), result('test', 10, 0.75, continual=CONTINUAL)]
  single, sequence = rows_of(make_run('a', 1, lines))
  assert (single.kind, single.chance) == (None, 0.05)
  assert (sequence.chance, sequence.over) == (0.025, 'sequences')
  assert sequence.after_tasks == [CONTINUAL['average_accuracy']]
  assert sequence.title == 'test, 2 tasks, class_incremental'
  assert sequence.paper is None


def test_evaluations_on_other_tasks_are_apart_and_say_how_they_differ(make_run: Make) -> None:
  lines = [
    result('val', 10, 0.9),
    result('val', 20, 0.8),
    result('test', 10, 0.5),
    result('test', 20, 0.6),
    result('test', 20, 0.7, on={'support_images': 100}),
    result('test', 20, 0.65, on={'tasks': 9}),
  ]
  found = [row for row in rows_of(make_run('a', 1, lines)) if row.preset == 'test']
  assert [(row.accuracy[0], row.steps, row.chosen) for row in found] == [
    (0.5, [10], 'best on val'), (0.7, [20], 'newest'), (0.65, [20], 'newest'),
  ]  # fmt: skip
  assert summary.remarks(found) == [
    '20-way 1-shot, tasks=400', '20-way 5-shot, tasks=400', '20-way 1-shot, tasks=9',
  ]  # fmt: skip
  assert [row.paper is not None for row in found] == [True, False, True]


def test_seeds_of_evaluations_do_not_part_a_group(make_run: Make) -> None:
  folders = [
    make_run(f'a_{seed}', seed, [result('test', 10, 0.5, on={'seed': seed, 'stream': seed})])
    for seed in (1, 2)
  ]
  (row,) = rows_of(*folders)
  assert row.each == [0.5, 0.5]
  assert summary.remarks([row]) == ['']


def test_the_papers_number_stands_beside_test_classes_of_the_same_task(make_run: Make) -> None:
  lines = [result('val', 10, 0.5), result('test', 10, 0.5)]
  test, val = rows_of(make_run('a', 1, lines))
  assert test.paper is not None
  assert test.paper.accuracy == 0.872
  assert val.paper is None
  assert rows_of(make_run('b', 1, lines, default_num_channels=12))[0].paper is None


def flags_of_script(name: str) -> dict[str, Any]:
  """The flags of a script of a published run as texts, with those of the script that it calls."""
  text = (SCRIPTS / f'{name}.sh').read_text()
  called = re.search(r'/(\w+)\.sh"', text)
  found = flags_of_script(called[1]) if called and called[1] != 'run' else {}
  body = text[text.index('exec bash') :]
  return found | dict(re.findall(r'--(\w+)=(\S+)', body))


@pytest.mark.parametrize(
  ('script', 'accuracy'),
  [
    ('omniglot_1shot_v1', 0.872),
    ('omniglot_1shot_v2', 0.872),
    ('omniglot_5shot_v1', 0.947),
    ('miniimagenet_1shot_v1', 0.551),
    ('miniimagenet_5shot_v2', 0.681),
    ('tieredimagenet_1shot_v1', 0.563),
    ('tieredimagenet_5shot_v1', 0.739),
    ('continual_omniglot_class_incremental', None),
  ],
)
def test_our_scripts_are_held_against_the_paper(script: str, accuracy: float | None) -> None:
  kinds = {flag.name: flag.kind for flag in flags.ALL_FLAGS}
  given = {
    name: kinds[name](value) if kinds[name] in (int, float, str) else value
    for name, value in flags_of_script(script).items()
  }
  found = published.find(flags.defaults() | given)
  assert (found.accuracy if found else None) == accuracy
  assert published.find(flags.defaults()) is None
  assert published.find(flags.defaults() | OMNIGLOT) is not None
