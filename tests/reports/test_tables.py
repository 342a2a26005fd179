"""The checkpoint that counts, intervals, chance and the paper's accuracies."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from absl import flags as absl_flags

from hypertransformer import cli
from hypertransformer.reports import runs, tables
from hypertransformer.reports.runs import LoggedRun, RunGroup
from hypertransformer.reports.tables import Outcome
from hypertransformer.settings import flags, recipes

from .conftest import Make, per_class, result, sequence

RECIPES = pathlib.Path(tables.__file__).parents[1] / 'recipes'


def outcomes_of(*folders: pathlib.Path) -> list[Outcome]:
  return tables.outcomes(runs.group(runs.read_runs([str(folder) for folder in folders])))


def steps(outcome: Outcome) -> list[int]:
  return [line['step'] for line in outcome.lines]


def test_the_best_checkpoint_on_val_counts_and_of_equal_ones_the_earliest(make_run: Make) -> None:
  accuracies = {1000: 0.5, 2000: 0.8, 3000: 0.8, 4000: 0.7}
  lines = [result('val', step, accuracy) for step, accuracy in accuracies.items()]
  lines += [result('test', step, step / 10_000) for step in accuracies]
  test, val = outcomes_of(make_run('a', 1, lines))
  assert (test.preset, steps(test), test.chosen) == ('test', [2000], 'best on val')
  assert test.estimate('accuracy') == (0.2, 0.005)
  assert test.estimate('accuracy_disjoint') == (pytest.approx(0.19), 0.006)
  assert (val.each('accuracy'), test.over, test.chance) == ([0.8], 'tasks', 0.05)


def test_without_val_the_newest_checkpoint_of_the_run_counts(make_run: Make) -> None:
  other = result('test', 9000, 0.9, checkpoint='/models/best/model-9000')
  lines = [result('test', 2000, 0.4), result('test', 1000, 0.6), other]
  (found,) = outcomes_of(make_run('a', 1, lines))
  assert (steps(found), found.chosen, found.each('accuracy')) == ([2000], 'newest', [0.4])


def test_an_interval_that_does_not_exist_and_an_unknown_accuracy(make_run: Make) -> None:
  line = result('test', 10, 0.4, ci95=None, accuracy_disjoint=None, ci95_disjoint=None)
  (found,) = outcomes_of(make_run('a', 1, [line]))
  assert tables.percent(found.estimate('accuracy')) == '40.0'
  assert found.estimate('accuracy_disjoint') is None


def test_the_baseline_and_missed_checkpoints_are_reported(make_run: Make) -> None:
  baseline = {'nearest_pixels': 0.25, 'nearest_pixels_ci95': 0.01}
  folder = make_run('a', 1, [result('test', 10, 0.5, **baseline)])
  with tf.io.TFRecordWriter(str(folder / 'events.out.tfevents.1')) as notes:
    saved = tf.SessionLog(status=tf.SessionLog.CHECKPOINT)
    notes.write(tf.Event(step=5, session_log=saved).SerializeToString())
  groups = runs.group(runs.read_runs([str(folder)]))
  reached, *_, about = tables.tables(groups, tables.outcomes(groups))
  assert reached.frame['nearest pixels'].tolist() == ['25.0 ± 1.0']
  assert 'a: 1 of 2 checkpoints have no result' in about.note


def test_of_several_seeds_the_interval_is_over_seeds(three_runs: list[pathlib.Path]) -> None:
  found = outcomes_of(*three_runs)[0]
  assert (found.each('accuracy'), found.over) == ([0.72, 0.74], 'seeds')
  assert found.estimate('accuracy') == pytest.approx((0.73, 12.706 * 0.01))


def test_95_of_100_intervals_hold_the_true_mean() -> None:
  samples = np.random.default_rng(0).normal(size=(4000, 5))
  found = [tables.over_seeds(each) for each in samples]
  assert np.mean([abs(mean) < half for mean, half in found]) == pytest.approx(0.95, abs=0.012)


def test_sequences_of_tasks_are_separate_from_single_tasks(make_run: Make) -> None:
  folder = make_run('a', 1, [result('test', 10, 0.4), sequence()])
  single, several = outcomes_of(folder)
  assert (single.chance, single.estimate('forgetting')) == (0.05, None)
  assert (several.chance, several.over, several.paper) == (0.025, 'sequences', None)
  assert several.estimate('forgetting') == (0.1, 0.05)
  assert several.title == 'test, 2 tasks, class_incremental'


def test_the_table_of_a_sequence_has_a_row_after_each_task(make_run: Make) -> None:
  groups = runs.group(runs.read_runs([str(make_run('a', 1, [sequence()]))]))
  table = tables.tables(groups, tables.outcomes(groups))[1]
  assert table.frame.to_numpy().tolist() == [
    ['task 1', '90.0 ± 10.0', '', '90.0 ± 10.0'],
    ['task 2', '80.0 ± 10.0', '70.0 ± 10.0', '75.0 ± 10.0'],
  ]


def test_the_worst_classes_and_the_most_confused_pairs_come_first(make_run: Make) -> None:
  """Of two runs, tasks and queries are added up."""
  names = [None, 'a very long name ' * 9, *map(str, range(28))]
  lines = [result('test', 10, 0.5, **per_class(*names))]
  folders = [make_run(f'a_{seed}', seed, lines) for seed in (1, 2)]
  groups = runs.group(runs.read_runs(list(map(str, folders))))
  _, classes, confused, _ = tables.tables(groups, tables.outcomes(groups))
  assert classes.frame.iloc[[0, 1, 19, 20, 22]].to_numpy().tolist() == [
    ['10', '10.0 ± 2.1', '200', '8'],
    ['11 a very lo...ry long name', '11.0 ± 2.1', '200', '8'],
    ['29 17', '29.0 ± 2.1', '200', '8'],
    ['37 25', '37.0 ± 2.1', '200', '8'],
    ['39 27', '39.0 ± 2.1', '200', '8'],
  ]
  assert ' 7 classes between the worst and the best are left out.' in classes.note
  assert len(confused.frame) == 20
  # Wilson: z^2 = 3.8415; (.9 + z^2/16 - z sqrt(.09/8 + z^2/256)) / (1 + z^2/8)
  assert confused.frame.iloc[0].tolist() == [
    '10', '11 a very lo...ry long name', '90.0', '55.6', '200', '8',
  ]  # fmt: skip
  assert 'chance is 5.0 %' in confused.note


def test_evaluations_on_other_tasks_are_separate_and_say_how_they_differ(make_run: Make) -> None:
  lines = [
    result('val', 10, 0.9),
    result('val', 20, 0.8),
    result('test', 10, 0.5),
    result('test', 20, 0.6),
    result('test', 20, 0.7, on={'support_images': 100}),
    result('test', 20, 0.65, on={'tasks': 9}),
  ]
  found = [each for each in outcomes_of(make_run('a', 1, lines)) if each.preset == 'test']
  assert [(each.each('accuracy'), steps(each), each.chosen) for each in found] == [
    ([0.5], [10], 'best on val'), ([0.7], [20], 'newest'), ([0.65], [20], 'newest'),
  ]  # fmt: skip
  assert tables.remarks(found) == [
    '20-way 1-shot, tasks=400', '20-way 5-shot, tasks=400', '20-way 1-shot, tasks=9',
  ]  # fmt: skip
  assert [each.paper for each in found] == [0.872, 0.947, 0.872]


def test_the_papers_accuracy_is_for_test_classes_and_the_same_cnn(make_run: Make) -> None:
  lines = [result('val', 10, 0.5), result('test', 10, 0.5)]
  test, val = outcomes_of(make_run('a', 1, lines))
  assert (test.paper, val.paper) == (0.872, None)
  assert outcomes_of(make_run('b', 1, lines, default_num_channels=12))[0].paper is None


@pytest.mark.parametrize(
  ('recipe', 'accuracy'),
  [
    ('omniglot_1shot_v1', 0.872),
    ('miniimagenet_5shot_v2', 0.681),
    ('tieredimagenet_5shot_v1', 0.739),
  ],
)
def test_the_published_runs_are_compared_with_the_paper(recipe: str, accuracy: float) -> None:
  holder = absl_flags.FlagValues()
  flags.define(holder)
  holder(['program', *cli.expand_flagfiles([f'--flagfile={RECIPES / recipe}.flags'])])
  values = flags.values(holder)
  on = {
    'dataset': values['test_dataset'],
    'ways': values['num_labels'],
    'support_images': values['samples_transformer'],
  }
  run = LoggedRun('a', values, '', [], {}, 0, None, None, [])
  assert Outcome(RunGroup('a', [run]), '', [result('test', 1, 0.5, on)]).paper == accuracy


@pytest.mark.parametrize(
  ('changes', 'steps'),
  [({}, '6,000 of 4,000,000 published'), ({'learning_rate': 0.5}, '6,000 of 8,000')],
)
def test_the_steps_of_a_recipe_are_those_published(changes: dict, steps: str) -> None:
  values = recipes.values('omniglot_1shot_v1') | {'train_steps': 8000, 'seed': 3} | changes
  run = LoggedRun('a', values, '', [], {}, 6000, None, None, [])
  assert tables._run(run)['steps'] == steps


def test_fewer_than_three_seeds_are_listed(three_runs: list[pathlib.Path]) -> None:
  assert tables.headline(outcomes_of(*three_runs[:2])).startswith(
    '72.0, 74.0 % on test tasks (base, 2 seeds)'
  )
