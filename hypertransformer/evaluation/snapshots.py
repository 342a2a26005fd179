"""Copies of checkpoints: the trainer may delete a checkpoint at any time, so the evaluator reads a
copy of its own, and keeps the copy of the best one.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import hashlib
import json
import math
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

import tensorflow.compat.v1 as tf
from absl import logging

from hypertransformer.evaluation.results import Result, kind
from hypertransformer.settings.flags_file import FLAGS_FILE

BEST_FILE = 'best.json'


@contextlib.contextmanager
def snapshot(prefix: str, folder: pathlib.Path) -> Iterator[str]:
  """Copies the checkpoint's files into a temporary folder inside `folder`, gives their prefix,
  deletes them at the end.

  Raises FileNotFoundError if a file is gone.
  """
  folder.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(prefix='.checkpoint-', dir=folder) as aside:
    for path in files(prefix):
      shutil.copy2(path, aside)
    yield os.path.join(aside, os.path.basename(prefix))


def files(prefix: str) -> list[str]:
  """The files of a checkpoint, index last. Raises FileNotFoundError if there is none."""
  data = sorted(glob.glob(glob.escape(prefix) + '.data-*'))
  index = f'{prefix}.index'
  if not data or not os.path.exists(index):
    raise FileNotFoundError(f'{prefix}: no .index and .data files')
  return [*data, index]


def state(prefix: str) -> list[str]:
  """What a checkpoint's files hold, as digests: another state is another, or now complete,
  checkpoint. (Times would not
  do: a training that resumes writes its checkpoint once more, as it is.)
  """
  found = []
  for path in sorted(glob.glob(glob.escape(prefix) + '.*')):
    with contextlib.suppress(FileNotFoundError):
      stat = os.stat(path)
      found.append(f'{path} {_digest(path, stat.st_size, stat.st_mtime_ns)}')
  return found


@functools.cache
def _digest(path: str, size: int, time_ns: int) -> str:
  """Of a file's content. size, time_ns: the file's; one that is unchanged is not read again."""
  del size, time_ns
  return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def best_accuracy(folder: pathlib.Path, like: Result) -> float:
  """The accuracy of the best checkpoint so far, -1 without one; infinite, with a warning, if that
  one was evaluated otherwise than `like` (other classes, scenario, batches, number of tasks), as
  they cannot be compared.
  """
  try:
    best = json.loads((folder / BEST_FILE).read_text())
    accuracy = float(best['accuracy'])
    found, wanted = (
      (best['dataset'], *kind(best.get('continual'))),
      (like.dataset, *kind(like.continual)),
    )
  except (FileNotFoundError, ValueError, KeyError, TypeError):
    return -1.0
  if found != wanted:
    logging.warning(
      '%s holds the best checkpoint of another evaluation (%s); it stays. To keep the best of this one, '
      'move that folder away.',
      folder,
      ' '.join(map(str, found)),
    )
    return math.inf
  return accuracy


def _copy_flags(log_dir: pathlib.Path, folder: pathlib.Path) -> None:
  """The run's flags go with the checkpoint: they say which model it is."""
  source = log_dir / FLAGS_FILE
  if source.exists() and log_dir.resolve() != folder.resolve():
    shutil.copy2(source, folder / f'{FLAGS_FILE}.part')
    os.replace(folder / f'{FLAGS_FILE}.part', folder / FLAGS_FILE)


def keep_best(prefix: str, result: Result, folder: pathlib.Path) -> bool:
  """Puts the checkpoint into `folder` if its result is better than the one there (see
  best_accuracy); whether it was.

  Its files are written aside and renamed; best.json, renamed last, says which checkpoint counts.
  """
  if result.accuracy <= best_accuracy(folder, result):
    return False
  folder.mkdir(parents=True, exist_ok=True)
  names = []
  for path in files(prefix):
    names.append(os.path.basename(path))
    shutil.copy2(path, folder / f'{names[-1]}.part')
    os.replace(folder / f'{names[-1]}.part', folder / names[-1])
  _copy_flags(pathlib.Path(result.checkpoint).parent, folder)
  (folder / f'{BEST_FILE}.part').write_text(result.json() + '\n')
  os.replace(folder / f'{BEST_FILE}.part', folder / BEST_FILE)
  tf.train.update_checkpoint_state(str(folder), str(folder / os.path.basename(prefix)))
  for old in folder.glob('model-*'):
    if old.name not in names:
      old.unlink()
  return True
