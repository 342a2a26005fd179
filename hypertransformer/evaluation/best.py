"""The files of a checkpoint, and the best checkpoint of a run, which is kept in LOG_DIR/best/."""

from __future__ import annotations

import glob
import hashlib
import os
import pathlib
import shutil

from absl import logging

from hypertransformer.data.files import read_small
from hypertransformer.evaluation import results
from hypertransformer.evaluation.results import Line
from hypertransformer.runtime import checkpoints
from hypertransformer.settings.flags_file import FLAGS_FILE

PRESET = 'val'  # the preset whose accuracy chooses the best checkpoint
BEST_FILE = 'best.json'
_PART = '.part'  # of the directory of files that are not complete yet


def state(prefix: str) -> dict[str, tuple[int, int]]:
  """Return size and time of a checkpoint's files, to see whether it has changed or is gone."""
  found = {}
  for path in glob.glob(f'{glob.escape(prefix)}.*'):
    try:
      stat = os.stat(path)
    except FileNotFoundError:
      continue
    found[path] = stat.st_size, stat.st_mtime_ns
  return found


def files(prefix: str) -> dict[str, bytes]:
  """Read all files of a checkpoint, and the flags.json beside it, by name.

  The trainer may delete a checkpoint at any time; what is read here can still be kept then.

  Raises:
    OSError: A file cannot be read.
  """
  paths = [pathlib.Path(path) for path in glob.glob(f'{glob.escape(prefix)}.data-*')]
  paths.append(pathlib.Path(f'{prefix}.index'))
  if (flags_file := paths[-1].with_name(FLAGS_FILE)).exists():
    paths.append(flags_file)
  return {path.name: path.read_bytes() for path in paths}


def digest(contents: dict[str, bytes]) -> str:
  """Return the SHA-256 of the index of a checkpoint, by which checkpoints are told apart.

  The index holds checksums of all values, so equal indices mean equal checkpoints.
  """
  (index,) = (content for name, content in contents.items() if name.endswith('.index'))
  return hashlib.sha256(index).hexdigest()


def keep(contents: dict[str, bytes], line: Line, folder: pathlib.Path) -> None:
  """Write a checkpoint into a folder if its result is better than the best one there.

  All files are written elsewhere and then renamed, best.json last: it says which checkpoint counts,
  whatever a crash has left behind. The caller holds the lock of the results.

  Args:
    contents: The files of the checkpoint, by name.
    line: Its result. It is compared only with results that were measured on the same.
    folder: The folder of the best checkpoint.

  Raises:
    OSError: A file cannot be written; the best one before stays.
  """
  before = _read(folder)
  if before is not None and before['measured'] != line['measured']:
    texts = results.differences([before['measured'], line['measured']], ())
    logging.warning(
      '%s holds the best checkpoint of another evaluation (%s; this one: %s) and is not changed. '
      'Move it away to keep the best of this one.',
      folder,
      *texts,
    )
    return
  if before is not None and not _replaces(line, before):
    return
  part = folder / _PART
  shutil.rmtree(part, ignore_errors=True)  # of an evaluator that was killed
  try:
    part.mkdir(parents=True)
    for name, content in {**contents, BEST_FILE: f'{results.as_json(line)}\n'.encode()}.items():
      (part / name).write_bytes(content)
    for name in (*contents, BEST_FILE):
      os.replace(part / name, folder / name)
  finally:
    shutil.rmtree(part, ignore_errors=True)
  # The name alone and no path, so that the folder can be moved.
  checkpoints.write_state(str(folder), [line['checkpoint']])
  for old in folder.glob(f'{checkpoints.BASENAME}-*'):
    if old.name not in contents:
      old.unlink()
  logging.info('The best checkpoint so far on %s is kept in %s', PRESET, folder)


def _replaces(line: Line, before: Line) -> bool:
  """Tell whether a result is better, or the same once more, as after a crash while it was kept."""
  same = line['checkpoint_sha256'] == before.get('checkpoint_sha256')
  return line['accuracy'] > before['accuracy'] or (same and line['accuracy'] == before['accuracy'])


def _read(folder: pathlib.Path) -> Line | None:
  """Read the result of the best checkpoint so far; None if there is none, or it is damaged."""
  try:
    return results.parsed(read_small(folder / BEST_FILE))
  except FileNotFoundError:
    return None
