"""Training as a program: what it refuses, with which exit status."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import pytest

from hypertransformer import train
from hypertransformer.errors import InputError
from hypertransformer.settings import flags
from tests.faults.processes import Program


@pytest.mark.parametrize(
  ('changes', 'message'),
  [({'num_labels': 1}, 'num_labels is 1'), ({'train_dataset': 'tiny:3,7'}, 'num_labels=3')],
)
def test_main_refuses_before_anything_is_written(
  make_values: Callable[..., Any], tmp_path: pathlib.Path, changes: dict[str, Any], message: str
) -> None:
  logs = tmp_path / 'logs'
  with pytest.raises(InputError, match=message):
    train.main(flags.settings_from(make_values(train_log_dir=str(logs), **changes)))
  assert not logs.exists()


@pytest.mark.slow
def test_the_program_refuses_bad_flags_with_status_2(
  make_values: Callable[..., Any], tmp_path: pathlib.Path
) -> None:
  values = make_values(train_log_dir=str(tmp_path / 'logs'), train_dataset='nothing:0-9')
  program = Program('train', values, tmp_path / 'output')
  assert program.run() == 2
  (error,) = program.errors()
  assert "dataset 'nothing'" in error
  assert not program.folder.exists()
