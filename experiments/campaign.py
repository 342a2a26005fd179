"""Makes the runs of runs.py, one after the other, and keeps what they found:

  python experiments/campaign.py --data_numpy_dir=./data_numpy_dir --work_dir=$HOME/campaign
  python experiments/campaign.py --work_dir=$HOME/campaign --list    # what is done, what is left

A run that was interrupted goes on by the same command, with the code that it began with: a copy of
the commit, outside of the working tree. All is pinned to one core (--core); stop it (Ctrl-C) while
you measure speed. What a run found goes to experiments/results/NAME/: results.jsonl, flags.json,
curve.csv (accuracy of training and test episodes over windows of 2,000 steps) and run.json
(command, commit, CPU hours).
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time

from absl import app, flags

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from hypertransformer import cli

if __name__ == '__main__':
  cli.import_tensorflow()

from hypertransformer.data import files
from hypertransformer.errors import InputError
from hypertransformer.runtime import checkpoints

import learning_curve  # isort: skip  (beside this file)
from runs import RUNS, Run  # isort: skip

DATA = flags.DEFINE_string('data_numpy_dir', './data_numpy_dir', 'folder with omniglot.npy')
WORK = flags.DEFINE_string('work_dir', '~/campaign', 'folder of the runs and of the code they use')
CORE = flags.DEFINE_integer('core', 0, 'the core that all is pinned to')
ONLY = flags.DEFINE_list('only', [], 'names of the runs to make; empty: all')
STEPS = flags.DEFINE_integer('steps', 0, 'makes shorter runs, for trying; 0: as listed')
RESULTS = flags.DEFINE_string('results', str(ROOT / 'experiments/results'), 'what is kept')
LIST = flags.DEFINE_bool('list', False, 'only says what is done and what is left')

WINDOW = 2000  # steps


class Place:
  """The folders and the record of one run."""

  def __init__(self, run: Run) -> None:
    self.run = run
    self.logs = pathlib.Path(WORK.value).expanduser() / run.name
    self.record_file = self.logs / 'campaign.json'
    self.results = pathlib.Path(RESULTS.value) / run.name

  @property
  def steps(self) -> int:
    return min(STEPS.value or self.run.steps, self.run.steps)

  def record(self) -> dict:
    """What is known of the run so far: commit, cpu_seconds, wall_seconds, evaluated."""
    if self.record_file.exists():
      return json.loads(self.record_file.read_text())
    return {'cpu_seconds': 0.0, 'wall_seconds': 0.0, 'evaluated': False}

  def write(self, record: dict) -> None:
    self.logs.mkdir(parents=True, exist_ok=True)
    with files.atomic_file(self.record_file) as file:
      file.write(json.dumps(record, indent=1).encode())

  def step(self) -> int:
    """Updates done, by the newest checkpoint."""
    return max(checkpoints.find(str(self.logs)), default=0)

  def done(self) -> bool:
    """Whether the run was evaluated, at as many steps as it is to have now."""
    return self.record()['evaluated'] and self.step() >= self.steps

  def state(self) -> str:
    if self.done():
      return 'done'
    kept = self.kept_steps()
    return f'{self.step()} of {self.steps} steps' + (f'; results of {kept}' if kept else '')

  def kept_steps(self) -> int:
    """The steps of which there are results, of this machine or another one; 0: of none."""
    file = self.results / 'run.json'
    return json.loads(file.read_text())['steps'] if file.exists() else 0


def code_of(commit: str) -> pathlib.Path:
  """A copy of the commit, made once."""
  folder = pathlib.Path(WORK.value).expanduser() / f'code-{commit[:12]}'
  if not folder.exists():
    archive = subprocess.run(
      ['git', 'archive', commit], cwd=ROOT, check=True, capture_output=True
    ).stdout
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as aside:
      with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(aside, filter='data')
      try:
        os.replace(aside, folder)
      except OSError:
        if not folder.exists():  # A campaign on another core may have made it meanwhile.
          raise
  return folder


def head() -> str:
  return subprocess.run(
    ['git', 'rev-parse', 'HEAD'], cwd=ROOT, check=True, capture_output=True, text=True
  ).stdout.strip()


def call(place: Place, record: dict, words: list[str], log: str) -> None:
  """Runs a script of the run's code, and adds its times to the record.

  If this program is interrupted, so is the script, and it is waited for until it has saved what it
  has.

  Raises:
    InputError: the script fails.
  """
  code = code_of(record['commit'])
  environment = {**os.environ, 'PYTHON': sys.executable, 'PYTHONPATH': str(code)}
  before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
  with (place.logs / log).open('a') as file:
    # In a session of its own, so that Ctrl-C does not reach it too: of two signals the second would
    # end it before it has saved.
    script = subprocess.Popen(
      ['bash', *words], cwd=code, env=environment, stdout=file, stderr=file, start_new_session=True
    )
    try:
      script.wait()
    except KeyboardInterrupt:
      script.terminate()
      script.wait()
      raise
    finally:
      after = resource.getrusage(resource.RUSAGE_CHILDREN)
      record['cpu_seconds'] += after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
      record['wall_seconds'] += time.monotonic() - start
      place.write(record)
  if script.returncode != 0:
    raise InputError(f'{" ".join(words)} ended with status {script.returncode}: see {file.name}.')


def make(place: Place, commit: str) -> None:
  """Trains as far as is left, evaluates, and keeps the results.

  Args:
    place: where the run is.
    commit: whose code a run uses that begins now.

  Raises:
    InputError: the training or the evaluation fails.
  """
  run, record = place.run, place.record()
  record.setdefault('commit', commit)
  place.write(record)
  common = [
    f'--data_numpy_dir={pathlib.Path(DATA.value).resolve()}',
    f'--train_log_dir={place.logs}',
    f'--train_steps={place.steps}',
    *run.flags,
  ]
  if place.step() < place.steps:
    record['evaluated'] = False  # True if it was made to fewer steps before
    place.write(record)
    call(place, record, [f'scripts/{run.script}.sh', *common], 'training.log')
    if place.step() < place.steps:
      raise KeyboardInterrupt  # ended by a signal, with a checkpoint
  evaluate = ['scripts/evaluate.sh', run.script, *common, *run.evaluation, '--eval_once']
  call(place, record, evaluate, 'evaluation.log')
  record['evaluated'] = True
  place.write(record)
  keep(place, record, [f'./scripts/{run.script}.sh', *common], evaluate)


def keep(place: Place, record: dict, training: list[str], evaluate: list[str]) -> None:
  """Copies what a person wants to see to experiments/results/NAME/."""
  place.results.mkdir(parents=True, exist_ok=True)
  shutil.copy(place.logs / 'flags.json', place.results)
  shutil.copy(place.logs / 'eval' / 'results.jsonl', place.results)
  summary = {
    'training': ' '.join(training),
    'evaluation': ' '.join(evaluate),
    'commit': record['commit'],
    'steps': place.step(),
    'cpu_hours': round(record['cpu_seconds'] / 3600, 2),
    'wall_hours': round(record['wall_seconds'] / 3600, 2),
    'against': place.run.against,
  }
  (place.results / 'run.json').write_text(json.dumps(summary, indent=1) + '\n')
  curves = [
    learning_curve.window_means(str(place.logs), tag, WINDOW) for tag in learning_curve.TITLES
  ]
  with (place.results / 'curve.csv').open('w', newline='') as file:
    table = csv.writer(file)
    table.writerow(['steps up to', *learning_curve.TITLES.values()])
    for number, means in enumerate(zip(*curves, strict=True), start=1):
      if not any(map(math.isnan, means)):  # a run that began with a checkpoint of another one
        table.writerow([number * WINDOW, *(f'{mean:.1f}' for mean in means)])


def make_all(places: list[Place]) -> None:
  """Makes the runs that are not done yet. Raises InputError where one fails."""
  commit = head()  # now: the list of runs is that of this commit too
  for place in places:
    if not place.done():
      print(f'{time.strftime("%H:%M:%S")}  {place.run.name}: {place.state()}', flush=True)
      make(place, commit)


def main(argv: list[str]) -> None:
  """Makes the runs, or lists them."""
  del argv
  signal.signal(signal.SIGTERM, signal.default_int_handler)
  with cli.exit_on_bad_input():
    unknown = set(ONLY.value) - {run.name for run in RUNS}
    if unknown:
      raise InputError(f'--only: there is no run {", ".join(sorted(unknown))} in runs.py.')
    places = [Place(run) for run in RUNS if not ONLY.value or run.name in ONLY.value]
    if not LIST.value:
      os.sched_setaffinity(0, {CORE.value})
      try:
        make_all(places)
      except KeyboardInterrupt:
        print('Interrupted; the same command goes on from here.')
    for place in places:
      print(f'{place.run.name:<40} {place.state():<40} held against {place.run.against}')


if __name__ == '__main__':
  app.run(main)
