"""Warnings about training classes in the test set, and about classes that have changed."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from hypertransformer.settings import flags
from hypertransformer.training import classes, loop
from hypertransformer.training.setup import Setup, setup_from

MakeSetup = Callable[..., Setup]


@pytest.fixture
def make_setup(make_values: Callable[..., Any]) -> MakeSetup:
  return lambda **changes: setup_from(flags.settings_from(make_values(**changes)))


@pytest.mark.parametrize(
  ('test', 'shared'), [('tiny:20-29', None), ('tiny:15-24', '5 of the 10'), ('tiny:0-19', '20 of')]
)
def test_training_classes_in_the_test_set_are_counted(
  make_setup: MakeSetup, warnings: list[str], test: str, shared: str | None
) -> None:
  classes.warn_of_shared(make_setup(train_dataset='tiny:0-19', test_dataset=test))
  assert len(warnings) == (shared is not None)
  if shared is not None:
    assert f'{shared} classes of --test_dataset' in warnings[0].replace('of the 20', 'of')


def test_a_run_notes_its_classes_and_says_what_changed(
  make_values: Callable[..., Any], warnings: list[str], tmp_path: pathlib.Path
) -> None:
  folder = tmp_path / 'data'
  folder.mkdir()
  images = np.random.default_rng(0).integers(0, 256, (31, 8, 12, 12, 1), np.uint8)
  np.save(folder / 'mine.npy', images[:30])

  def train(steps: int, **changes: Any) -> None:
    values = make_values(
      data_numpy_dir=str(folder),
      train_log_dir=str(tmp_path / 'logs'),
      train_steps=steps,
      **{'train_dataset': 'mine:0-19', 'test_dataset': 'mine:20-29', **changes},
    )
    settings = flags.settings_from(values)
    loop.train(setup_from(settings), settings)

  train(1)
  noted = json.loads((tmp_path / 'logs' / 'flags.json').read_text())[classes.KEY]
  assert noted['train_dataset']['classes'] == 20
  assert noted['test_dataset']['images'] == 80
  train(2)
  assert warnings == []
  train(3, train_dataset='mine:0-18')
  (warning,) = warnings
  assert '--train_dataset has other classes than the run in' in warning
  assert 'it was 20 classes with 160 images, and is 19 with 152. The run' in warning
  warnings.clear()
  np.save(folder / 'mine.npy', images)  # made anew, with a class more
  train(4, train_dataset='mine:0-18')
  assert ['which differ in size, order or name' in each for each in warnings] == [True, True]


def test_a_run_that_did_not_note_its_classes_goes_on_without_a_word(
  make_setup: MakeSetup, warnings: list[str]
) -> None:
  for before in ({}, {'classes': 3}, {'classes': {'train_dataset': []}}):
    classes.warn_of_changes('logs', before, make_setup())
  assert warnings == []
