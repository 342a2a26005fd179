"""Which machine a training ran on."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import tensorflow.compat.v1 as tf

from hypertransformer.runtime import run_folder


def test_a_training_notes_its_machine(trained: Any) -> None:
  line = json.loads((trained.folder / run_folder.MACHINES_FILE).read_text())
  assert line == {'from_step': 0, 'machine': run_folder.describe_machine()}
  assert tf.__version__ in line['machine']
  assert 'cores' in line['machine']


def test_different_machines_are_told_once_and_in_order(tmp_path: pathlib.Path) -> None:
  assert run_folder.machines(str(tmp_path)) == []
  lines = [json.dumps({'from_step': 0, 'machine': name}) for name in ('b', 'a', 'b')]
  (tmp_path / run_folder.MACHINES_FILE).write_text('\n'.join([*lines, '{"machine": "cut', '3']))
  assert run_folder.machines(str(tmp_path)) == ['b', 'a']


def test_the_machine_that_goes_on_is_added(tmp_path: pathlib.Path) -> None:
  for step in (0, 50):
    run_folder.note_machine(str(tmp_path), step)
  text = (tmp_path / run_folder.MACHINES_FILE).read_text()
  assert [json.loads(line)['from_step'] for line in text.splitlines()] == [0, 50]
