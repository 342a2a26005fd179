"""Reads a finished or a running training from its folder: flags, results, curves, machine.

Two kinds of folders are read: the --train_log_dir of a training, and what is kept of a run in
experiments/results/, where results.jsonl is beside flags.json and text files stand for the event
files (kept.py).
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from hypertransformer.errors import InputError, require
from hypertransformer.evaluation.measured import ResultFile
from hypertransformer.evaluation.places import Places
from hypertransformer.evaluation.results import Line
from hypertransformer.reports import events, kept
from hypertransformer.reports.events import Recorded
from hypertransformer.runtime import run_folder
from hypertransformer.settings import flags, flags_file
from hypertransformer.settings.flags_file import Facts, facts


@dataclasses.dataclass(frozen=True)
class Run:
  """A training and its evaluations.

  Attributes:
    folder: where it was found.
    name: the shortest end of that path which tells it from the other runs of the report.
    values: the value of every flag by its name. Flags that are younger than the run have their
      defaults.
    version: the version of this package that trained it; '' for versions that did not say so.
    results: lines of results.jsonl, oldest first.
    recorded: what the training has recorded.
    machines: descriptions of the machines that trained it; empty if none was recorded.
  """

  folder: pathlib.Path
  name: str
  values: dict[str, Any]
  version: str
  results: list[Line]
  recorded: Recorded
  machines: list[str]

  @property
  def facts(self) -> Facts:
    """What its flags say of seed, length and task."""
    return facts(self.values)


def read_runs(folders: Sequence[str]) -> list[Run]:
  """Reads the runs in these folders, in this order.

  Raises:
    InputError: a folder is given twice, or is not there, or holds no run, or nothing to report.
  """
  paths = [pathlib.Path(folder) for folder in folders]
  resolved = [path.resolve() for path in paths]
  for path, place in zip(paths, resolved, strict=True):
    require(resolved.count(place) == 1, f'{path} is given twice: give each folder once.')
  names = short_names(resolved)
  return [read_run(path, name) for path, name in zip(paths, names, strict=True)]


def read_run(folder: pathlib.Path, name: str) -> Run:
  """Reads the run in a folder; see `read_runs`."""
  _require_run(folder)
  found = flags_file.read_flags(str(folder)) or {}
  version = str(found.pop(flags_file.VERSION, ''))
  places = Places(str(folder))
  results = ResultFile(places.results).read() or ResultFile(folder / places.results.name).read()
  recorded = kept.fill_in(folder, events.read(folder / 'train'))
  if not results and not recorded.accuracies:
    raise InputError(
      f'{folder} has neither event files of a training (train/) nor results of an evaluation '
      '(eval/results.jsonl): there is nothing to report yet.'
    )
  values = flags.defaults()
  # The file also notes what is no flag, such as the classes.
  values |= {flag: value for flag, value in found.items() if flag in values}
  return Run(folder, name, values, version, results, recorded, run_folder.machines(str(folder)))


def _require_run(folder: pathlib.Path) -> None:
  """Raises InputError unless the folder is there and has a flags.json."""
  require(folder.is_dir(), f'there is no folder {folder}: give the --train_log_dir of a training.')
  if (folder / flags_file.FLAGS_FILE).exists():
    return
  inside = sorted(path.parent.name for path in folder.glob(f'*/{flags_file.FLAGS_FILE}'))
  inside = [name for name in inside if name not in ('eval', 'best')]
  advice = (
    f'its folders {", ".join(inside[:3])}{" ..." if len(inside) > 3 else ""} are runs: give these '
    f'({folder}/*).'
    if inside
    else 'give the --train_log_dir of a training.'
  )
  raise InputError(f'{folder} holds no run ({flags_file.FLAGS_FILE} is missing): {advice}')


def short_names(paths: Sequence[pathlib.Path]) -> list[str]:
  """The shortest ends of different absolute paths that differ, each of as many parts."""
  longest = max(len(path.parts) for path in paths)
  for parts in range(1, longest + 1):
    names = ['/'.join(path.parts[-parts:]) for path in paths]
    if len(set(names)) == len(names):
      return names
  return [str(path) for path in paths]
