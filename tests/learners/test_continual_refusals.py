"""Tasks, classes and models that a ContinualLearner refuses."""

from __future__ import annotations

import json
import pathlib
import shutil
from typing import Any

import pytest

from hypertransformer.errors import InputError
from hypertransformer.learners import ContinualLearner
from hypertransformer.settings.config import CONTINUAL_SCENARIOS

TASK, CLASS, PIECES = CONTINUAL_SCENARIOS


def test_before_learn_everything_is_refused(
  open_learner: Any, make_task: Any, tmp_path: pathlib.Path
) -> None:
  learner = open_learner(CLASS)
  images = make_task(0).queries
  for call in (
    lambda: learner.predict(images),
    lambda: learner.scores(images),
    learner.labels,
    learner.weights,
    learner.prototypes,
    lambda: learner.save(tmp_path / 'x'),
  ):
    with pytest.raises(InputError, match='nothing is learned yet: call learn'):
      call()
  assert learner.num_tasks == 0
  assert not (tmp_path / 'x').exists()


@pytest.mark.parametrize(
  ('scenario', 'task', 'message'),
  [
    (TASK, None, r'task is not given: .*0\.\.0'),
    (TASK, 1, r'task is 1; tasks 0\.\.0 are learned so far'),
    (TASK, -1, 'task is -1'),
    (TASK, 0.0, r'task is 0\.0'),
    (TASK, False, 'task is False'),
    (TASK, '0', "task is '0'"),
    (CLASS, 0, 'task is 0, but with continual_scenario=class_incremental .* leave it out'),
    (PIECES, 0, 'task is 0, but with continual_scenario=mini_batch'),
  ],
)
def test_unfit_tasks_are_refused(
  open_learner: Any, make_task: Any, scenario: str, task: Any, message: str
) -> None:
  learner = open_learner(scenario)
  learner.learn(*make_task(0).support_set())
  for call in (lambda: learner.predict(make_task(0).queries, task), lambda: learner.labels(task)):
    with pytest.raises(InputError, match=message):
      call()


def test_unfit_classes_are_refused(open_learner: Any, make_task: Any) -> None:
  of_class, pieces = open_learner(CLASS), open_learner(PIECES)
  for learner, first, message in (
    (
      of_class,
      2,
      'label 2 was learned in task 0 already: with continual_scenario=class_incremental',
    ),
    (pieces, 1, r'label 3 is not among the classes of the first piece \(0, 1, 2\)'),
  ):
    learner.learn(*make_task(0).support_set())
    with pytest.raises(InputError, match=message):
      learner.learn(*make_task(9).support_set(first))
    with pytest.raises(InputError, match='of 2 classes'):
      learner.learn(make_task(9).support, [7, 7, 7, 8, 8, 8])
    with pytest.raises(InputError, match=r'support images are in .* multiply them by 255'):
      learner.learn(make_task(9).support / 255, [7, 7, 8, 8, 9, 9])
    assert learner.num_tasks == 1


def test_a_model_with_logits_has_no_prototypes(open_learner: Any, make_task: Any) -> None:
  learner = open_learner(PIECES, continual_loss='cross_entropy')
  learner.learn(*make_task(0).support_set())
  with pytest.raises(InputError, match='has no prototypes'):
    learner.prototypes()


def test_a_model_of_the_merged_method_is_refused(
  continual_run: Any, tmp_path: pathlib.Path
) -> None:
  run = continual_run(CLASS)
  copy = shutil.copytree(run.folder, tmp_path / 'copy')
  (copy / 'flags.json').write_text(
    json.dumps({**run.values, 'continual_method': 'merged_hypertransformer'})
  )
  with pytest.raises(
    InputError, match='merged_hypertransformer, which needs the images of all tasks at once'
  ):
    ContinualLearner(copy)
