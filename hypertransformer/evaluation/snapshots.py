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
import secrets
import shutil
from collections.abc import Iterator

import filelock
import tensorflow.compat.v1 as tf
from absl import logging

from hypertransformer.evaluation import measured
from hypertransformer.evaluation.measured import Measured
from hypertransformer.evaluation.results import Line
from hypertransformer.settings.flags_file import FLAGS_FILE

BEST_FILE = 'best.json'
_COPY, _PART, _LOCK = '.checkpoint-', '.part', '.lock'  # of the names of temporary files


@contextlib.contextmanager
def snapshot(prefix: str, folder: pathlib.Path) -> Iterator[str]:
  """Copies a checkpoint for the time of a `with`.

  A lock beside the copy tells other evaluators that it is in use; see remove_copies.

  Args:
    prefix: the path of the checkpoint, without ending.
    folder: the copy is in a temporary folder inside of this one.

  Yields:
    The path of the copy, without ending. The copy is deleted at the end.

  Raises:
    FileNotFoundError: a file of the checkpoint is not there.
    OSError: the copy cannot be written.
  """
  sources = files(prefix)
  folder.mkdir(parents=True, exist_ok=True)
  aside = folder / f'{_COPY}{secrets.token_hex(4)}'
  lock = filelock.FileLock(aside.with_name(aside.name + _LOCK))
  try:
    lock.acquire()  # before there is anything that another one could remove
    aside.mkdir()
    for path in sources:
      shutil.copy2(path, aside)
    yield str(aside / os.path.basename(prefix))
  finally:
    try:
      shutil.rmtree(aside, ignore_errors=True)
    finally:  # a signal may have ended the line above
      pathlib.Path(lock.lock_file).unlink(missing_ok=True)
      lock.release()


def remove_copies(folder: pathlib.Path) -> None:
  """Removes the copies that killed evaluators have left in a folder, never one that is in use.

  Where the file system has no locks, that cannot be told, and nothing is removed.
  """
  for aside in {path.with_name(path.name.removesuffix(_LOCK)) for path in folder.glob(f'{_COPY}*')}:
    lock = filelock.FileLock(aside.with_name(aside.name + _LOCK))
    with contextlib.suppress(OSError), lock.acquire(timeout=0):
      shutil.rmtree(aside, ignore_errors=True)
      pathlib.Path(lock.lock_file).unlink()


def remove_parts(folder: pathlib.Path) -> None:
  """Removes the half-written files of a killed evaluator from the folder of the best checkpoint.

  The caller makes sure that no other evaluator writes there at the same time.
  """
  for path in folder.glob(f'*{_PART}'):
    with contextlib.suppress(OSError):
      path.unlink()


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
    with contextlib.suppress(OSError):
      stat = os.stat(path)
      found.append(f'{path} {_digest(path, stat.st_size, stat.st_mtime_ns)}')
  return found


@functools.cache
def _digest(path: str, size: int, time_ns: int) -> str:
  """The digest of a file's content. If size and time are those of an earlier call, it is cached."""
  del size, time_ns
  return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def digest(prefix: str) -> str:
  """The SHA-256 of a checkpoint's index, by which checkpoints are told apart.

  The index holds checksums of all numbers, so that equal indices mean equal checkpoints, whatever
  their times are and wherever they lie.

  Raises:
    FileNotFoundError: the index is not there.
  """
  return hashlib.sha256(pathlib.Path(f'{prefix}.index').read_bytes()).hexdigest()


@dataclasses.dataclass(frozen=True)
class Best:
  """What best.json says of the best checkpoint so far.

  Attributes:
    accuracy: its accuracy.
    measured: what that was measured on; only accuracies with equal ones can be compared.
  """

  accuracy: float
  measured: Measured


def read_best(folder: pathlib.Path) -> Best | None:
  """Reads what is known of the best checkpoint; None if there is none, or best.json is damaged."""
  try:
    best = json.loads((folder / BEST_FILE).read_text())
    return Best(float(best['accuracy']), measured.of_line(best))
  except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
    return None


def _is_better(line: Line, best: Best | None, folder: pathlib.Path) -> bool:
  """Whether a result is better than the best one in a folder.

  It is not if the two cannot be compared; then a warning says so.
  """
  if best is None:
    return True
  found = measured.of_line(line)
  if best.measured != found:
    logging.warning(
      '%s holds the best checkpoint of another evaluation (%s); it stays. To keep the best of '
      'this one (%s), move that folder away.',
      folder,
      *measured.compared(best.measured, found),
    )
    return False
  return line['accuracy'] > best.accuracy


def keep_best(prefix: str, line: Line, folder: pathlib.Path, run: pathlib.Path) -> bool:
  """Copies a checkpoint into a folder if its result is better than the best one there.

  All files are written under other names first and then renamed. best.json comes last: it says
  which checkpoint counts, whatever a crash has left behind.

  Args:
    prefix: the path of the checkpoint, without ending.
    line: its result, as in results.jsonl. Others are compared only if measured on the same.
    folder: the folder of the best checkpoint; it is made if it is not there.
    run: the folder of the run, whose flags.json says what model the checkpoint is of.

  Returns:
    Whether the checkpoint was copied.

  Raises:
    OSError, tf.errors.OpError: a file cannot be written; the best one before stays.
  """
  if not _is_better(line, read_best(folder), folder):
    return False
  folder.mkdir(parents=True, exist_ok=True)
  try:
    names = [_copy_aside(path, folder) for path in map(pathlib.Path, files(prefix))]
    if (run / FLAGS_FILE).exists() and run.resolve() != folder.resolve():
      names.append(_copy_aside(run / FLAGS_FILE, folder))
    (folder / f'{BEST_FILE}{_PART}').write_text(json.dumps(line) + '\n')
    for name in [*names, BEST_FILE]:
      os.replace(folder / f'{name}{_PART}', folder / name)
  finally:
    remove_parts(folder)
  # The name alone and no path, so that the folder can be moved.
  tf.train.update_checkpoint_state(str(folder.absolute()), os.path.basename(prefix))
  for old in folder.glob('model-*'):
    if old.name not in names:
      old.unlink()
  return True


def _copy_aside(path: pathlib.Path, folder: pathlib.Path) -> str:
  """Copies a file into a folder under a name for the time being; returns its name to be."""
  shutil.copy2(path, folder / f'{path.name}{_PART}')
  return path.name
