"""Watches over the classes of a run: those of training and test, and those it had before.

Nothing here is an error, because each can be meant: there is a warning, and the run goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from absl import logging

from hypertransformer.data import inspection
from hypertransformer.data.arrays import ClassSet
from hypertransformer.training.setup import Setup

KEY = 'classes'  # of flags.json: what `describe` returns


def describe(setup: Setup) -> dict[str, dict[str, Any]]:
  """Describes the classes of training and test such that a later run can tell a change.

  Returns:
    For the keys 'train_dataset' and 'test_dataset', the number of classes and of their images, and
    a digest of sizes and names.
  """
  return {'train_dataset': _describe(setup.train_set), 'test_dataset': _describe(setup.test_set)}


def _describe(class_set: ClassSet) -> dict[str, Any]:
  return {
    'classes': len(class_set.classes),
    'images': int(class_set.arrays.sizes[class_set.classes].sum()),
    'digest': inspection.digest(class_set),
  }


def warn_of_shared(setup: Setup) -> None:
  """Warns if test classes are training classes too."""
  shared = inspection.shared_classes(setup.test_set, setup.train_set)
  if shared:
    logging.warning(
      '%d of the %d classes of --test_dataset are among the %d of --train_dataset: the accuracy of '
      'test episodes does not tell what the model does with new classes. Choose others, such as '
      '--test_dataset=%s:FIRST-LAST.',
      shared,
      len(setup.test_set.classes),
      len(setup.train_set.classes),
      setup.test_set.name,
    )


def warn_of_changes(folder: str, before: Mapping[str, Any], setup: Setup) -> None:
  """Warns if a run goes on with other classes than it had before.

  Args:
    folder: the folder of the run.
    before: what its flags.json says. Runs of earlier versions did not note their classes.
    setup: what the run goes on with.
  """
  classes = before.get(KEY)
  for flag, now in describe(setup).items():
    was = classes.get(flag) if isinstance(classes, dict) else None
    if not isinstance(was, dict) or inspection.same_classes(str(was.get('digest')), now['digest']):
      continue
    logging.warning(
      '--%s has other classes than the run in %s had: it was %s classes with %s images, and is %d '
      'with %d%s. The run goes on with these; if that is not meant, use the data it began with, or '
      'another --train_log_dir.',
      flag,
      folder,
      was.get('classes'),
      was.get('images'),
      now['classes'],
      now['images'],
      ' (which differ in size, order or name)'
      if (was.get('classes'), was.get('images')) == (now['classes'], now['images'])
      else '',
    )
