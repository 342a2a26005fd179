"""The campaign: which runs are done, what an interruption leaves, and the table of results."""

from __future__ import annotations

import json
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from absl import flags
from absl.testing import flagsaver

from hypertransformer.runtime import tensorboard
from hypertransformer.runtime.tensorboard import EventWriter

EXPERIMENTS = pathlib.Path(__file__).resolve().parents[2] / 'experiments'


@pytest.fixture(scope='module')
def campaign() -> Iterator[dict[str, Any]]:
  """What campaign.py defines; its flags are taken away again afterwards."""
  names, modules = set(flags.FLAGS), set(sys.modules)
  sys.path.insert(0, str(EXPERIMENTS))
  try:
    yield runpy.run_path(str(EXPERIMENTS / 'campaign.py'), run_name='campaign')
  finally:
    sys.path.remove(str(EXPERIMENTS))
    for name in set(flags.FLAGS) - names:
      delattr(flags.FLAGS, name)
    for name in {'learning_curve', 'runs'} - modules:
      sys.modules.pop(name, None)


@pytest.fixture
def place(campaign: dict[str, Any], tmp_path: pathlib.Path) -> Iterator[Any]:
  """The place of a run of 20 steps."""
  if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()
  with flagsaver.flagsaver(work_dir=str(tmp_path / 'work'), results=str(tmp_path / 'results')):
    made = campaign['Place'](campaign['Run']('mine', 'omniglot_1shot_v2', 20))
    made.logs.mkdir(parents=True)
    yield made


def save(place: Any, step: int) -> None:
  (place.logs / f'model-{step}.index').touch()


def test_results_of_another_machine_are_told(place: Any) -> None:
  place.results.mkdir(parents=True)
  (place.results / 'run.json').write_text('{"steps": 15}')
  assert place.state() == '0 of 20 steps; results of 15'


def test_the_curve_begins_where_the_run_does(campaign: dict[str, Any], place: Any) -> None:
  """A run can begin with a checkpoint of another one."""
  (place.logs / 'flags.json').write_text('{}')
  (place.logs / 'eval').mkdir()
  (place.logs / 'eval/results.jsonl').write_text('')
  writer = EventWriter(str(place.logs / 'train'))
  for step, value in ((2900, 0.25), (3900, 0.75)):
    scalars = {'accuracy/accuracy': value, 'accuracy/test_accuracy': value / 2}
    writer.add_summary(tensorboard.scalar_summary(scalars), step)
  writer.add_summary(tensorboard.scalar_summary(dict.fromkeys(scalars, 0.5)), 6000)
  writer.close()
  record = {'commit': 'abc', 'cpu_seconds': 0, 'wall_seconds': 0}
  campaign['keep'](place, record, ['train'], ['evaluate'])
  rows = (place.results / 'curve.csv').read_text().splitlines()[1:]
  assert rows == ['4000,50.0,25.0', '6000,50.0,50.0']


def test_a_run_is_done_when_it_was_evaluated_at_its_last_step(place: Any) -> None:
  assert place.state() == '0 of 20 steps'
  save(place, 20)
  assert place.state() == '20 of 20 steps', 'it is not evaluated yet'
  place.write({**place.record(), 'evaluated': True})
  assert place.state() == 'done'


def test_a_run_that_was_done_goes_on_to_more_steps(place: Any) -> None:
  save(place, 10)
  place.write({**place.record(), 'evaluated': True})
  assert place.state() == '10 of 20 steps'
  with flagsaver.flagsaver(steps=10):
    assert place.state() == 'done'


def test_an_interruption_lets_the_script_save_and_keeps_its_times(
  campaign: dict[str, Any], place: Any, tmp_path: pathlib.Path
) -> None:
  """Ctrl-C is meant for the campaign alone, and the script gets one SIGTERM, not two signals."""
  (tmp_path / 'work/code-abc').mkdir(parents=True)
  script = tmp_path / 'script.sh'
  script.write_text(
    f'cd {tmp_path}\n'
    'trap "echo INT >> signals" INT\n'
    'trap "echo TERM >> signals; sleep 0.5; touch saved; exit 0" TERM\n'
    'touch began\n'
    'for i in $(seq 1000); do sleep 0.02; done\n'
  )

  def interrupt() -> None:
    deadline = time.monotonic() + 20
    while not (tmp_path / 'began').exists() and time.monotonic() < deadline:
      time.sleep(0.01)
    time.sleep(0.2)  # until it is waited for
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)

  record = {**place.record(), 'commit': 'abc'}
  # A shell starts programs in the background with the signal ignored.
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  threading.Thread(target=interrupt, daemon=True).start()
  try:
    with pytest.raises(KeyboardInterrupt):
      campaign['call'](place, record, [str(script)], 'training.log')
  finally:
    signal.signal(signal.SIGINT, before)
  assert (tmp_path / 'saved').exists(), 'it was waited for'
  assert (tmp_path / 'signals').read_text() == 'TERM\n'
  assert json.loads(place.record_file.read_text())['wall_seconds'] > 0.5


def test_ctrl_c_at_a_terminal_does_not_reach_the_script(
  campaign: dict[str, Any], place: Any, tmp_path: pathlib.Path
) -> None:
  """The script has a process group of its own."""
  (tmp_path / 'work/code-abc').mkdir(parents=True)
  script = tmp_path / 'script.sh'
  script.write_text(f'ps -o pgid= -p $$ > {tmp_path}/group\n')
  campaign['call'](place, {**place.record(), 'commit': 'abc'}, [str(script)], 'training.log')
  assert int((tmp_path / 'group').read_text()) != os.getpgrp()


def test_the_tables_are_those_of_the_results() -> None:
  """docs/results.md is as results_table.py writes it."""
  page = EXPERIMENTS.parent / 'docs/results.md'
  before = page.read_text()
  program = (
    'import sys; sys.argv = ["results_table"]; import results_table as r; '
    'sys.stdout.write(r.with_tables(r.PAGE.read_text()))'
  )
  done = subprocess.run(
    [sys.executable, '-c', program], cwd=EXPERIMENTS, capture_output=True, text=True, check=True
  )
  assert done.stdout == before, 'run experiments/results_table.py'
