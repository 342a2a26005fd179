"""Make the runs of runs.json, one after the other, and keep what they found.

  python experiments/campaign.py --data_numpy_dir=./data_numpy_dir --work_dir=$HOME/campaign
  python experiments/campaign.py --work_dir=$HOME/campaign --list    # what is done, what is left

The same command resumes an interrupted run, with the code that the run began with: a copy of the
commit outside of the working tree, beside the runs, so that --init_from=../NAME begins a run with
the weights of another. All runs are pinned to one core (--core). What a run found goes to
experiments/results/NAME/, which `python -m hypertransformer.report` reads: results.jsonl,
flags.json, curve.csv (accuracies over windows of 2,000 steps) and run.json (commands, commit, CPU
hours). A run of several seeds makes one such directory for each, NAME_seed1 and so on.
"""

from __future__ import annotations

import csv
import io
import json
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
from typing import Any

from absl import app, flags

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from hypertransformer import cli, startup

if __name__ == '__main__':
  startup.start()
  cli.import_tensorflow()

from hypertransformer.data import files
from hypertransformer.errors import InputError
from hypertransformer.evaluation import results
from hypertransformer.reports import runs
from hypertransformer.runtime import checkpoints

DATA = flags.DEFINE_string('data_numpy_dir', './data_numpy_dir', 'Directory with omniglot.npy.')
WORK = flags.DEFINE_string('work_dir', '~/campaign', 'Directory of the runs and of their code.')
CORE = flags.DEFINE_integer('core', 0, 'The core that all runs are pinned to.')
ONLY = flags.DEFINE_list('only', [], 'Names of the runs to make. Default: all.')
STEPS = flags.DEFINE_integer('steps', 0, 'Makes shorter runs, for trying. Default: as listed.')
RESULTS = flags.DEFINE_string('results', str(ROOT / 'experiments/results'), 'What is kept.')
LIST = flags.DEFINE_bool('list', False, 'Only list what is done and what is left.')

WINDOW = 2000  # steps
CURVES = {title: tag for tag, title in runs.ACCURACIES.items() if 'shared_head' not in tag}


def all_runs() -> dict[str, dict[str, Any]]:
  """Return the runs of runs.json by name, each seed as a run of its own."""
  found = {}
  for run in json.loads((ROOT / 'experiments/runs.json').read_text()):
    for seed in run['seeds']:
      name = f'{run["name"]}_seed{seed}' if len(run['seeds']) > 1 else run['name']
      found[name] = {**run, 'flags': [*run['flags'], f'--seed={seed}']}
  return found


class CampaignRun:
  """A run of the campaign: its directories and its record."""

  def __init__(self, name: str, run: dict[str, Any]) -> None:
    """Read nothing yet; run: an entry of `all_runs`."""
    self.name, self.run = name, run
    self.logs = files.expanded(WORK.value) / name
    self.record_file = self.logs / 'campaign.json'
    self.kept = pathlib.Path(RESULTS.value) / name
    self.steps = min(STEPS.value or run['steps'], run['steps'])

  def record(self) -> dict[str, Any]:
    """Return what is known of the run so far: commit, cpu_seconds, evaluated."""
    if self.record_file.exists():
      return json.loads(self.record_file.read_text())
    return {'cpu_seconds': 0.0, 'evaluated': False}

  def write(self, **changes: Any) -> None:
    """Change the record."""
    with files.atomic_file(self.record_file) as file:
      file.write(json.dumps(self.record() | changes, indent=1).encode())

  def step(self) -> int:
    """Return the number of steps done, according to the newest checkpoint."""
    return max(checkpoints.find(str(self.logs)), default=0)

  def done(self) -> bool:
    """Return whether the run was evaluated after as many steps as it is to have now."""
    return self.record()['evaluated'] and self.step() >= self.steps

  def state(self) -> str:
    """Describe how far the run is, and of which step there are results from any machine."""
    kept = max((line['step'] for line in results.read(self.kept / 'results.jsonl')), default=0)
    state = 'done' if self.done() else f'{self.step()} of {self.steps} steps'
    return f'{state}; results of {kept}' if kept else state

  def commands(self, data: str, logs: str) -> tuple[list[str], list[str]]:
    """Return the commands of training and evaluation, with these directories."""
    script = self.run['script']
    paths = f'--data_numpy_dir={data}', f'--train_log_dir={logs}'
    common = [*paths, f'--train_steps={self.steps}', *self.run['flags']]
    evaluation = [*common, *self.run['evaluation'], '--eval_once']
    return [f'./scripts/{script}.sh', *common], ['./scripts/evaluate.sh', script, *evaluation]

  def make(self) -> None:
    """Train as far as is left, evaluate, and keep the results.

    Raises:
      InputError: the training or the evaluation fails.
    """
    data = str(pathlib.Path(DATA.value).resolve())
    training, evaluation = self.commands(data, str(self.logs))
    if self.step() < self.steps:
      self.write(evaluated=False)  # True if it was made to fewer steps before
      self.call(training, 'training.log')
      if self.step() < self.steps:
        raise KeyboardInterrupt  # a signal ended it, with a checkpoint
    self.call(evaluation, 'evaluation.log')
    self.write(evaluated=True)
    self.keep()

  def call(self, words: list[str], log: str) -> None:
    """Run a script of the run's code, and add its CPU time to the record.

    If this program is interrupted, the script is too, and has time to save what it has.

    Raises:
      InputError: the script fails.
    """
    code = code_of(self.record()['commit'])
    environment = {**os.environ, 'PYTHON': sys.executable, 'PYTHONPATH': str(code)}
    before = _cpu_seconds_of_children()
    with (self.logs / log).open('a') as file:
      # In a session of its own: Ctrl-C must not reach it too, as a second signal would end it
      # before it has saved.
      script = subprocess.Popen(
        ['bash', *words],
        cwd=code,
        env=environment,
        stdout=file,
        stderr=file,
        start_new_session=True,
      )
      try:
        script.wait()
      except KeyboardInterrupt:
        script.terminate()
        script.wait()
        raise
      finally:
        spent = _cpu_seconds_of_children() - before
        self.write(cpu_seconds=self.record()['cpu_seconds'] + spent)
    if script.returncode != 0:
      raise InputError(f'{" ".join(words)} ended with status {script.returncode}: see {file.name}.')

  def keep(self) -> None:
    """Copy what the report reads to experiments/results/NAME/, without paths of this machine."""
    self.kept.mkdir(parents=True, exist_ok=True)
    data, logs = './data_numpy_dir', f'./logs/{self.name}'
    values = json.loads((self.logs / 'flags.json').read_text())
    values |= {'data_numpy_dir': data, 'train_log_dir': logs}
    (self.kept / 'flags.json').write_text(json.dumps(values, indent=1, sort_keys=True) + '\n')
    shutil.copy(results.file_of(self.logs), self.kept)
    training, evaluation = (
      ' '.join(words).replace('=../', '=./logs/') for words in self.commands(data, logs)
    )
    about = {
      'training': training,
      'evaluation': evaluation,
      'commit': self.record()['commit'],
      'cpu_hours': round(self.record()['cpu_seconds'] / 3600, 2),
    }
    (self.kept / 'run.json').write_text(json.dumps(about, indent=1) + '\n')
    scalars = runs.read_scalars(self.logs / 'train')
    curves = [scalars[tag].means(WINDOW) for tag in CURVES.values()]
    with (self.kept / 'curve.csv').open('w', newline='') as file:
      table = csv.writer(file)
      table.writerow([runs.STEPS_COLUMN, *CURVES])
      for step, *means in zip(curves[0].steps, *(each.values for each in curves), strict=True):
        table.writerow([step, *(f'{100 * mean:.1f}' for mean in means)])


def _cpu_seconds_of_children() -> float:
  usage = resource.getrusage(resource.RUSAGE_CHILDREN)
  return usage.ru_utime + usage.ru_stime


def code_of(commit: str) -> pathlib.Path:
  """Return a copy of the commit, made once."""
  folder = files.expanded(WORK.value) / f'code-{commit[:12]}'
  if not folder.exists():
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as aside:
      with tarfile.open(fileobj=io.BytesIO(_git('archive', commit))) as tar:
        tar.extractall(aside, filter='data')
      try:
        os.replace(aside, folder)
      except OSError:
        if not folder.exists():  # a campaign on another core may have made it in the meantime
          raise
  return folder


def _git(*words: str) -> bytes:
  return subprocess.run(['git', *words], cwd=ROOT, check=True, capture_output=True).stdout


def main(argv: list[str]) -> None:
  """Make the runs, or list them."""
  del argv
  signal.signal(signal.SIGTERM, signal.default_int_handler)
  with cli.exit_on_bad_input():
    listed = all_runs()
    unknown = set(ONLY.value) - set(listed)
    if unknown:
      raise InputError(f'--only={",".join(sorted(unknown))} is not in runs.json.')
    chosen = [CampaignRun(name, listed[name]) for name in ONLY.value or listed]
    if not LIST.value:
      os.sched_setaffinity(0, {CORE.value})
      commit = _git('rev-parse', 'HEAD').decode().strip()  # now: runs.json is that of this commit
      try:
        for run in chosen:
          if not run.done():
            print(f'{time.strftime("%H:%M:%S")}  {run.name}: {run.state()}', flush=True)
            run.write(commit=run.record().get('commit', commit))
            run.make()
      except KeyboardInterrupt:
        print('Interrupted; rerun the command to resume.')
    for run in chosen:
      print(f'{run.name:<44} {run.state()}')


if __name__ == '__main__':
  app.run(main)
