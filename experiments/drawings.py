"""Measure the accuracy of a pretrained model on the drawings in examples/data.

A model for photographs learns the drawings too; they are converted to the form of its images.
"""

from __future__ import annotations

import pathlib
import runpy
from typing import Any

import numpy as np

from hypertransformer.learners import ContinualLearner, FewShotLearner

EXAMPLES = pathlib.Path(__file__).resolve().parents[1] / 'examples'


def learns_sequences(values: dict[str, Any]) -> bool:
  """Return whether a model with these flags learns one task after the other."""
  return values['continual_scenario'] != 'none'


def learner_of(values: dict[str, Any]) -> type[ContinualLearner] | type[FewShotLearner]:
  """Return the learner that opens a model with these flags."""
  return ContinualLearner if learns_sequences(values) else FewShotLearner


def accuracies(folder: pathlib.Path, values: dict[str, Any], tasks: int) -> list[float]:
  """Return the mean accuracy on tasks of the images in examples/data, in 0..1.

  Args:
    folder: the directory of the model.
    values: its flags.
    tasks: the number of tasks, or of sequences of tasks.

  Returns:
    One accuracy; for a model that learns sequences of tasks, one after each task.
  """
  sequences = learns_sequences(values)
  name = 'continual' if sequences else 'few_shot'
  example = runpy.run_path(str(EXAMPLES / f'{name}.py'), run_name='example')
  images = np.load(example['DRAWINGS'])['images']
  found = []
  if sequences:
    for seed in range(tasks):
      with ContinualLearner(folder) as learner:  # a new one: it remembers what it has learned
        found.append(example['accuracies'](learner, images, seed))
  else:
    with FewShotLearner(folder, prepare=True) as few_shot:
      found = [[example['accuracy'](few_shot, images, seed)] for seed in range(tasks)]
  return [round(float(mean), 4) for mean in np.mean(found, axis=0)]
