"""Makes a model that comes with the package from a run of the campaign that has been evaluated:

  python experiments/make_pretrained.py --run_dir=$HOME/campaign/omniglot_1shot_v2 \
    --name=omniglot_1shot --command='./scripts/omniglot_1shot_v2.sh --seed=1' --step=200000

Written are the checkpoint, its flags.json (without the paths of this machine) and card.json: what
it is, how it was trained, and its accuracy with 95 % intervals. tests/learners/test_pretrained.py
holds the model to its card on the drawings in examples/data.
"""

from __future__ import annotations

import json
import pathlib
import shutil
import subprocess
import sys

from absl import app, flags

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from hypertransformer import command

if __name__ == '__main__':
  command.import_tensorflow()

from hypertransformer.learners.pretrained import CARD, FOLDER

import drawings  # isort: skip  (beside this file)

LOG_DIR = flags.DEFINE_string('run_dir', None, 'the folder of the run', required=True)
NAME = flags.DEFINE_string('name', None, 'of the model', required=True)
COMMAND = flags.DEFINE_string('command', None, 'that trained it', required=True)
STEP = flags.DEFINE_integer('step', None, 'of the checkpoint', required=True)

TASKS, SEQUENCES = 20, 5  # of the stored drawings
PATHS = {'data_numpy_dir': './data_numpy_dir', 'train_log_dir': './logs', 'eval_checkpoint': ''}
DATA = 'Omniglot (Brenden Lake et al., MIT licence), training classes 0-1149 of shuffle seed 2022'


def evaluated(log_dir: pathlib.Path, step: int) -> dict[str, dict[str, float]]:
  """{preset: accuracies and intervals} of the step. Raises ValueError if it was not evaluated."""
  lines = map(json.loads, (log_dir / 'eval' / 'results.jsonl').read_text().splitlines())
  fields = ('accuracy', 'ci95', 'accuracy_disjoint', 'ci95_disjoint', 'num_tasks', 'num_queries')
  found = {
    line['preset']: {name: line.get(name) for name in fields}
    for line in lines
    if line['step'] == step
  }
  if not found:
    raise ValueError(f'{log_dir} has no evaluation of step {step}.')
  return found


def main(argv: list[str]) -> None:
  """Writes the folder."""
  del argv
  log_dir, target = pathlib.Path(LOG_DIR.value).expanduser(), FOLDER / NAME.value
  accuracies = evaluated(log_dir, STEP.value)
  target.mkdir(parents=True, exist_ok=True)
  for file in target.iterdir():
    file.unlink()
  for file in log_dir.glob(f'model-{STEP.value}.*'):
    shutil.copy(file, target)
  values = json.loads((log_dir / 'flags.json').read_text()) | PATHS
  (target / 'flags.json').write_text(json.dumps(values, indent=1, sort_keys=True) + '\n')
  commit = subprocess.run(
    ['git', 'rev-parse', 'HEAD'], cwd=ROOT, check=True, capture_output=True, text=True
  ).stdout.strip()
  tasks = SEQUENCES if drawings.learns_sequences(values) else TASKS
  card = {
    'command': COMMAND.value,
    'steps': STEP.value,
    'packaged_at_commit': commit,
    'data': DATA,
    'evaluation': accuracies,
    'accuracy_on_examples_data': drawings.accuracies(target, values, tasks),
    'tasks_on_examples_data': tasks,
  }
  (target / CARD).write_text(json.dumps(card, indent=1) + '\n')
  print(f'wrote {target}')


if __name__ == '__main__':
  app.run(main)
