"""Copies of checkpoints, and the best checkpoint.

The trainer may delete a checkpoint at any time. So the evaluator reads a copy of its own, and keeps
the copy of the best one in a folder.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import glob
import hashlib
import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

import tensorflow.compat.v1 as tf
from absl import logging

from hypertransformer.evaluation.results import Result, SequenceKind, kind
from hypertransformer.settings.flags_file import FLAGS_FILE

BEST_FILE = 'best.json'


@contextlib.contextmanager
def snapshot(prefix: str, folder: pathlib.Path) -> Iterator[str]:
  """Copies a checkpoint for the time of a `with`.

  Args:
    prefix: the path of the checkpoint, without ending.
    folder: the copy is in a temporary folder inside of this one.

  Yields:
    The path of the copy, without ending. The copy is deleted at the end.

  Raises:
    FileNotFoundError: a file of the checkpoint is not there.
  """
  folder.mkdir(parents=True, exist_ok=True)
  with tempfile.TemporaryDirectory(prefix='.checkpoint-', dir=folder) as aside:
    for path in files(prefix):
      shutil.copy2(path, aside)
    yield os.path.join(aside, os.path.basename(prefix))


def files(prefix: str) -> list[str]:
  """The paths of a checkpoint's files, that of the index last.

  Raises:
    FileNotFoundError: the index is missing, or there are no data files.
  """
  data = sorted(glob.glob(glob.escape(prefix) + '.data-*'))
  index = f'{prefix}.index'
  if not data or not os.path.exists(index):
    raise FileNotFoundError(f'{prefix}: no .index and .data files')
  return [*data, index]


def state(prefix: str) -> list[str]:
  """Digests of a checkpoint's files, to see whether the checkpoint has changed.

  It has if another training has written it, or if it was half-written before. The times of the
  files would not do: a training that resumes writes its checkpoint once more, unchanged.
  """
  found = []
  for path in sorted(glob.glob(glob.escape(prefix) + '.*')):
    with contextlib.suppress(FileNotFoundError):
      stat = os.stat(path)
      found.append(f'{path} {_digest(path, stat.st_size, stat.st_mtime_ns)}')
  return found


@functools.cache
def _digest(path: str, size: int, time_ns: int) -> str:
  """The digest of a file's content. If size and time are those of an earlier call, it is cached."""
  del size, time_ns
  return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """What was evaluated; only accuracies of equal evaluations can be compared.

  Attributes:
    dataset: the spec of the preset's classes.
    kind: the kind of the sequences; None for independent tasks.
  """

  dataset: str
  kind: SequenceKind | None

  def __str__(self) -> str:
    return ' '.join(map(str, (self.dataset, *(self.kind or ()))))


@dataclasses.dataclass(frozen=True)
class Best:
  """What best.json says of the best checkpoint so far: its accuracy, and in which evaluation."""

  accuracy: float
  evaluation: Evaluation


def read_best(folder: pathlib.Path) -> Best | None:
  """Reads what is known of the best checkpoint; None if there is none, or best.json is damaged."""
  try:
    best = json.loads((folder / BEST_FILE).read_text())
    accuracy = float(best['accuracy'])
    return Best(accuracy, Evaluation(best['dataset'], kind(best.get('continual'))))
  except (FileNotFoundError, ValueError, KeyError, TypeError):
    return None


def _is_better(result: Result, best: Best | None, folder: pathlib.Path) -> bool:
  """Whether a result is better than the best one in a folder.

  It is not if the two cannot be compared; then a warning says so.
  """
  if best is None:
    return True
  if best.evaluation != Evaluation(result.dataset, kind(result.continual)):
    logging.warning(
      '%s holds the best checkpoint of another evaluation (%s); it stays. To keep the best of '
      'this one, move that folder away.',
      folder,
      best.evaluation,
    )
    return False
  return result.accuracy > best.accuracy


def _copy_flags(log_dir: pathlib.Path, folder: pathlib.Path) -> None:
  """Copies flags.json of the run, which says what model the checkpoint is of."""
  source = log_dir / FLAGS_FILE
  if source.exists() and log_dir.resolve() != folder.resolve():
    shutil.copy2(source, folder / f'{FLAGS_FILE}.part')
    os.replace(folder / f'{FLAGS_FILE}.part', folder / FLAGS_FILE)


def keep_best(prefix: str, result: Result, folder: pathlib.Path) -> bool:
  """Copies a checkpoint into a folder if its result is better than the best one there.

  Each file is written under another name first and then renamed. best.json comes last: it says
  which checkpoint counts, whatever a crash has left behind.

  Args:
    prefix: the path of the checkpoint, without ending.
    result: its result. Other results are compared only if dataset and kind are the same.
    folder: the folder of the best checkpoint; it is made if it is not there.

  Returns:
    Whether the checkpoint was copied.
  """
  if not _is_better(result, read_best(folder), folder):
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
