"""The campaign: which runs are done, what an interruption leaves, and the kept results."""

from __future__ import annotations

import json
import os
import pathlib
import runpy
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import tensorflow.compat.v1 as tf
from absl import flags
from absl.testing import flagsaver

from hypertransformer.reports import page, runs

EXPERIMENTS = pathlib.Path(__file__).resolve().parents[2] / 'experiments'


@pytest.fixture(scope='module')
def campaign() -> Iterator[dict[str, Any]]:
  """What campaign.py defines; its flags are removed afterwards."""
  names = set(flags.FLAGS)
  yield runpy.run_path(str(EXPERIMENTS / 'campaign.py'), run_name='campaign')
  for name in set(flags.FLAGS) - names:
    delattr(flags.FLAGS, name)


@pytest.fixture
def run(campaign: dict[str, Any], tmp_path: pathlib.Path) -> Iterator[Any]:
  """A run of 20 steps."""
  if not flags.FLAGS.is_parsed():
    flags.FLAGS.mark_as_parsed()
  entry = {'script': 'omniglot_1shot_v2', 'steps': 20, 'flags': ['--seed=1'], 'evaluation': []}
  with flagsaver.flagsaver(work_dir=str(tmp_path / 'work'), results=str(tmp_path / 'results')):
    made = campaign['CampaignRun']('mine', entry)
    made.logs.mkdir(parents=True)
    (tmp_path / 'work/code-abc').mkdir(parents=True)
    made.write(commit='abc')
    yield made


def test_every_seed_is_a_run(campaign: dict[str, Any]) -> None:
  found = campaign['all_runs']()
  assert found['search_rate_004_seed2']['flags'][-1] == '--seed=2'
  assert 'continual_8_mixed' in found


def test_a_run_is_done_when_it_was_evaluated_at_its_last_step(run: Any) -> None:
  assert run.state() == '0 of 20 steps'
  (run.logs / 'model-20.index').touch()
  assert run.state() == '20 of 20 steps', 'it is not evaluated yet'
  run.write(evaluated=True)
  assert run.state() == 'done'
  run.steps = 30
  assert run.state() == '20 of 30 steps'


def test_what_is_kept_is_what_the_report_reads(run: Any, tmp_path: pathlib.Path) -> None:
  """Without paths of this machine. A run can begin with a checkpoint of another one."""
  (run.logs / 'flags.json').write_text(json.dumps({'data_numpy_dir': '/data', 'seed': 3}))
  (run.logs / 'eval').mkdir()
  (run.logs / 'eval/results.jsonl').write_text('')
  with tf.Graph().as_default():
    writer = tf.summary.FileWriter(str(run.logs / 'train'))
  for step, value in ((2900, 0.25), (3900, 0.75), (6000, 1.0)):
    scalars = {'accuracy/accuracy': value, 'accuracy/test_accuracy': value / 2}
    found = [tf.Summary.Value(tag=tag, simple_value=each) for tag, each in scalars.items()]
    writer.add_summary(tf.Summary(value=found), step)
  writer.close()
  run.write(cpu_seconds=1800)
  run.keep()
  (kept,) = runs.read_runs([str(run.kept)])
  assert kept.curves['training episodes'].steps.tolist() == [4000, 6000]
  assert kept.curves['test episodes'].values.tolist() == [0.25, 0.5]
  assert (kept.cpu_hours, kept.settings.run.seed) == (0.5, 3)
  texts = [path.read_text() for path in run.kept.iterdir()]
  assert not any('"/' in text or str(tmp_path) in text for text in texts)
  assert './logs/mine' in (run.kept / 'run.json').read_text()


def test_an_interruption_lets_the_script_save_and_keeps_its_times(
  run: Any, tmp_path: pathlib.Path
) -> None:
  """Ctrl-C is meant for the campaign alone: the script gets one SIGTERM, not two signals."""
  script = tmp_path / 'script.sh'
  script.write_text(
    f'cd {tmp_path}\n'
    'trap "echo INT >> signals" INT\n'
    'trap "echo TERM >> signals; sleep 0.5; touch saved; exit 0" TERM\n'
    'ps -o pgid= -p $$ > group\n'
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

  # A shell starts programs in the background with the signal ignored.
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  threading.Thread(target=interrupt, daemon=True).start()
  try:
    with pytest.raises(KeyboardInterrupt):
      run.call([str(script)], 'training.log')
  finally:
    signal.signal(signal.SIGINT, before)
  assert (tmp_path / 'saved').exists(), 'it was waited for'
  assert (tmp_path / 'signals').read_text() == 'TERM\n'
  assert int((tmp_path / 'group').read_text()) != os.getpgrp()
  assert run.record()['cpu_seconds'] > 0


def test_the_table_of_all_runs_is_that_of_their_results(tmp_path: pathlib.Path) -> None:
  """See docs/results.md for the command that writes it."""
  folders = sorted(path.parent for path in (EXPERIMENTS / 'results').glob('*/flags.json'))
  page.write([str(folder) for folder in folders], str(tmp_path / 'results.csv'))
  kept = EXPERIMENTS / 'results/results.csv'
  assert (tmp_path / 'results.csv').read_text() == kept.read_text()
