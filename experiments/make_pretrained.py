"""Make a pretrained model of the package from an evaluated run of the campaign.

  python experiments/make_pretrained.py --run_dir=$HOME/campaign/omniglot_1shot_16_v2 \
    --results=experiments/results/omniglot_1shot_16_v2 --name=omniglot_1shot

It writes the newest checkpoint that has results, without the variables of an optimizer, its
flags.json and card.json: the model's input, how it was trained and evaluated, and its accuracy with
95 % confidence intervals.
tests/learners/test_pretrained.py compares the model with its card on the images in examples/data.
"""

from __future__ import annotations

import json
import pathlib
import sys
from typing import Any

import numpy as np
from absl import app, flags

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from hypertransformer import cli, startup

if __name__ == '__main__':
  startup.start()
  cli.import_tensorflow()

from hypertransformer.checkpoint_conversion import convert, names
from hypertransformer.data import files
from hypertransformer.data.folder import DataFolder
from hypertransformer.errors import require
from hypertransformer.evaluation.results import latest, read

import drawings  # isort: skip  (beside this file)

LOG_DIR = flags.DEFINE_string('run_dir', None, 'The --train_log_dir of the run.', required=True)
RESULTS = flags.DEFINE_string('results', None, 'What the campaign keeps of it.', required=True)
NAME = flags.DEFINE_string('name', None, 'The name of the model.', required=True)

TASKS, SEQUENCES = 20, 5  # of the images in examples/data
IMAGES = {1: 'bright ink on black', 3: 'RGB photographs'}  # by channels
PATHS = {'data_numpy_dir': './data_numpy_dir', 'train_log_dir': './logs', 'eval_checkpoint': ''}
DATA = {  # by the dataset that was trained on
  'omniglot:0-1149': 'Omniglot (Brenden Lake et al., MIT licence), training classes 0-1149 of '
  'shuffle seed 2022',
  'cifar_fs:0-63': 'CIFAR-FS (Bertinetto et al. 2019), the 64 training classes. The images are '
  'those of CIFAR-100 (Krizhevsky 2009), which has no written licence; they are not included',
}
FIELDS = ('accuracy', 'ci95', 'accuracy_disjoint', 'ci95_disjoint', 'num_tasks', 'num_queries')
AFTER_EACH_TASK = ('average_accuracy', 'average_accuracy_ci95')  # of sequences


def accuracies(lines: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
  """Return accuracies and intervals by preset, from lines of results.jsonl by preset."""
  found = {}
  for preset, line in lines.items():
    found[preset] = {name: line.get(name) for name in FIELDS}
    if 'continual' in line:
      found[preset] |= {name: line['continual'][name] for name in AFTER_EACH_TASK}
  return found


def mean_brightness(values: dict[str, Any]) -> float:
  """Return the mean of the training images, in 0..255."""
  classes = DataFolder(values['data_numpy_dir'], values['shuffle_labels_seed']).open(
    values['train_dataset']
  )
  arrays = classes.arrays
  means = [
    arrays.gather(arrays.rows(cls, range(arrays.sizes[cls]))).mean() for cls in classes.classes
  ]
  return round(float(np.mean(means)), 1)


def takes(folder: pathlib.Path, values: dict[str, Any]) -> dict[str, Any]:
  """Return what tasks and images the model in a directory was trained for."""
  with drawings.learner_of(values)(folder) as learner:
    height, width, channels = learner.image_shape
    return {
      'classes': learner.num_labels,
      'support_images_per_class': learner.shots,
      'image': f'{height} x {width} x {channels}, {IMAGES[channels]}',
      'mean_brightness': mean_brightness(values),
    }


def main(argv: list[str]) -> None:
  """Write the directory of the model."""
  del argv
  log_dir, target = files.expanded(LOG_DIR.value), files.PACKAGED / NAME.value
  results = pathlib.Path(RESULTS.value)
  about = json.loads((results / 'run.json').read_text())
  values = json.loads((results / 'flags.json').read_text()) | PATHS
  lines = {line['preset']: line for line in latest(read(results / 'results.jsonl'))}
  (step,) = {line['step'] for line in lines.values()}
  variables = convert.read(log_dir / f'model-{step}')
  theirs = json.loads((log_dir / 'flags.json').read_text()) | PATHS
  require(theirs == values, f'{log_dir} and {results} have other flags: they are of two runs.')
  target.mkdir(parents=True, exist_ok=True)
  for file in target.iterdir():
    file.unlink()
  convert.write(
    target / f'model-{step}',
    {name: x for name, x in variables.items() if not names.is_dropped(name, names.EXPORT)},
  )
  (target / 'flags.json').write_text(json.dumps(values, indent=1, sort_keys=True) + '\n')
  tasks = SEQUENCES if drawings.learns_sequences(values) else TASKS
  card = {
    'takes': takes(target, values),
    'command': about['training'],
    'steps': step,
    'trained_at_commit': about['commit'],
    'data': DATA[values['train_dataset']],
    'evaluated_by': about['evaluation'],
    'evaluation': accuracies(lines),
    'accuracy_on_examples_data': drawings.accuracies(target, values, tasks),
    'tasks_on_examples_data': tasks,
  }
  (target / files.CARD).write_text(json.dumps(card, indent=1) + '\n')
  print(f'wrote {target}')


if __name__ == '__main__':
  app.run(main)
