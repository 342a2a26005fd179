"""Read runs from their directories: flags, results, learning curves, speed and machine.

Two kinds of directories are read: the --train_log_dir of a training, and what
experiments/campaign.py keeps of a run in experiments/results/, where results.jsonl lies beside
flags.json, and curve.csv and run.json take the place of the event files.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from hypertransformer.data import files
from hypertransformer.errors import InputError, require
from hypertransformer.evaluation import missed
from hypertransformer.evaluation import results as results_lib
from hypertransformer.runtime import run_folder
from hypertransformer.settings import flags, flags_file
from hypertransformer.settings.config import Settings

# The accuracies that have learning curves: TensorBoard's tags, and what they are measured on.
ACCURACIES = {
  'accuracy/test_accuracy': 'test episodes',
  'accuracy/accuracy': 'training episodes',
  'accuracy/shared_head_accuracy': 'real classes',
}
CURVES, ABOUT = 'curve.csv', 'run.json'  # the files that the campaign keeps of a run
STEPS_COLUMN = 'steps up to'  # of CURVES; the other columns are accuracies in %


@dataclasses.dataclass(frozen=True)
class Curve:
  """A scalar that was recorded during training.

  Attributes:
    steps: int [n], the training steps, ascending.
    values: float64 [n].
  """

  steps: np.ndarray
  values: np.ndarray

  def means(self, window: int) -> Curve:
    """Return the means over windows of steps, each at the last step of its window.

    Args:
      window: the number of steps of a window. The last window is left out unless it is full.
    """
    windows: np.ndarray = (self.steps - 1) // window
    full = [n for n in range(int(self.steps[-1]) // window) if (windows == n).any()]
    means = [self.values[windows == n].mean() for n in full]
    return Curve((np.array(full, int) + 1) * window, np.array(means))


@dataclasses.dataclass(frozen=True)
class LoggedRun:
  """A training and its evaluations, as its directory holds them.

  Attributes:
    name: the shortest end of its path that distinguishes it from the other runs of the report.
    values: the value of every flag by its name; the default of a flag that was not recorded.
    version: the version of this package that trained it.
    results: the lines of results.jsonl, oldest first.
    curves: the learning curves by the values of ACCURACIES, accuracies in 0..1.
    last_step: the last step that was recorded.
    steps_per_second: the median over the training; None if it was not recorded.
    cpu_hours: of all processes that have trained it; None if they were not recorded.
    machines: the machines that trained it; empty if none was recorded.
    changes: what was changed when it was resumed, as texts.
    missed: which checkpoints were deleted before they were evaluated, as text; '' for none.
  """

  name: str
  values: dict[str, Any]
  version: str
  results: list[dict[str, Any]]
  curves: dict[str, Curve]
  last_step: int
  steps_per_second: float | None
  cpu_hours: float | None
  machines: list[str]
  changes: list[str] = dataclasses.field(default_factory=list)
  missed: str = ''

  @property
  def settings(self) -> Settings:
    """The settings that its flags make."""
    return flags.settings_from(self.values)

  @property
  def influential(self) -> dict[str, Any]:
    """The flags that influence its results, without its seed."""
    found = flags.values_affecting(self.values, 'training', 'evaluation')
    found.pop('seed', None)
    return found


def read_runs(folders: Sequence[str]) -> list[LoggedRun]:
  """Read the runs in these directories, in this order.

  Raises:
    InputError: a directory is missing, is given twice, or holds no run or nothing to report.
  """
  paths = [files.expanded(folder) for folder in folders]
  resolved = [path.resolve() for path in paths]
  for path, place in zip(paths, resolved, strict=True):
    require(resolved.count(place) == 1, f'{path} is given twice: give each directory once.')
  names = short_names(resolved)
  return [_read_run(path, name) for path, name in zip(paths, names, strict=True)]


def _read_run(folder: pathlib.Path, name: str) -> LoggedRun:
  found = flags_file.read_flags(str(folder))
  if found is None:
    inside = sorted(path.parent for path in folder.glob(f'*/{flags_file.FLAGS_FILE}'))
    runs = [str(path) for path in inside if path.name not in ('eval', 'best')]
    raise InputError(
      f'{folder} holds no run ({flags_file.FLAGS_FILE} is missing). Give the --train_log_dir of a '
      f'training{", such as " * bool(runs)}{", ".join(runs[:3])}.'
    )
  file = results_lib.file_of(folder)
  results = results_lib.read(file) or results_lib.read(folder / file.name)
  scalars = read_scalars(folder / 'train')
  curves = {title: scalars[tag] for tag, title in ACCURACIES.items() if tag in scalars}
  kept_curves, kept_cpu_hours = _kept(folder)
  curves = curves or kept_curves
  require(
    bool(results or curves),
    f'{folder} has neither event files of a training (train/) nor results of an evaluation '
    '(eval/results.jsonl): there is nothing to report yet.',
  )
  speed, cpu = scalars.get('global_step/sec'), scalars.get('cpu_seconds')
  last_steps = [curve.steps[-1] for curve in (scalars or curves).values()]
  return LoggedRun(
    name=name,
    values={flag: found.get(flag, default) for flag, default in flags.defaults().items()},
    version=str(found.get(flags_file.VERSION, '')),
    results=results,
    curves=curves,
    last_step=max([0, *map(int, last_steps), *(line['step'] for line in results)]),
    steps_per_second=float(np.median(speed.values)) if speed else None,
    cpu_hours=total_of_processes(cpu.values) / 3600 if cpu else kept_cpu_hours,
    machines=run_folder.machines(str(folder)),
    changes=list(map(flags_file.change_text, flags_file.history(found))),
    missed=missed.text(str(folder), results),
  )


def short_names(paths: Sequence[pathlib.Path]) -> list[str]:
  """Return the shortest ends of different absolute paths that differ, as many parts of each."""
  ends = ([str(pathlib.Path(*path.parts[-n:])) for path in paths] for n in itertools.count(1))
  return next(names for names in ends if len(set(names)) == len(names))


def read_scalars(folder: pathlib.Path) -> dict[str, Curve]:
  """Read the scalars in the event files of a directory, by tag; {} if there are none."""
  if not any(folder.glob('*tfevents*')):
    return {}
  events = EventAccumulator(str(folder), size_guidance={'scalars': 0})  # 0 keeps all
  events.Reload()
  found = {}
  for tag in events.Tags()['scalars']:
    last = dict(sorted({event.step: event.value for event in events.Scalars(tag)}.items()))
    found[tag] = Curve(np.array(list(last)), np.array(list(last.values()), np.float64))
  return found


def total_of_processes(seconds: np.ndarray) -> float:
  """Add up the CPU seconds of several processes that trained a run one after the other.

  Args:
    seconds: float [n], recorded during training. Each process counts from zero, so the values
      fall where a run was resumed.
  """
  last_of_each: np.ndarray = np.append(seconds[:-1][np.diff(seconds) < 0], seconds[-1:])
  return float(last_of_each.sum())


def _kept(folder: pathlib.Path) -> tuple[dict[str, Curve], float | None]:
  """Read the curves and the CPU hours that the campaign keeps; {} and None if there are none."""
  curves: dict[str, Curve] = {}
  path, hours = folder / CURVES, None
  try:
    if path.exists():
      text = io.BytesIO(files.read_small(path))
      table = np.genfromtxt(text, delimiter=',', names=True, deletechars='', replace_space=' ')
      steps = table[STEPS_COLUMN].reshape(-1).astype(int)
      if not len(steps) or not (np.diff(steps, prepend=0) > 0).all():
        raise ValueError('its steps do not increase')
      titles = [name for name in table.dtype.names or () if name != STEPS_COLUMN]
      curves = {title: Curve(steps, table[title].reshape(-1) / 100) for title in titles}
    path = folder / ABOUT
    if path.exists():
      hours = files.read_json(path).get('cpu_hours')
    return curves, None if hours is None else float(hours)
  except (*files.JSON_ERRORS, IndexError, TypeError, AttributeError) as error:
    raise InputError(
      f'{path} is damaged ({files.reason(error)}). Restore it, or delete it and report without it.'
    ) from error


@dataclasses.dataclass(frozen=True, eq=False)
class RunGroup:
  """Runs whose flags differ in the seed only.

  Attributes:
    name: what the names of its runs have in common.
    runs: the runs, in the order in which they were given.
  """

  name: str
  runs: list[LoggedRun]


def group(runs: Sequence[LoggedRun]) -> list[RunGroup]:
  """Group runs whose flags differ in the seed only, in the order of the first run of each group."""
  found: dict[str, list[LoggedRun]] = {}
  for run in runs:
    found.setdefault(repr(sorted(run.influential.items())), []).append(run)
  names = [common_name([run.name for run in each]) for each in found.values()]
  numbered = [
    name if names.count(name) == 1 else f'{name} ({names[:number].count(name) + 1})'
    for number, name in enumerate(names)
  ]
  return [RunGroup(name, each) for name, each in zip(numbered, found.values(), strict=True)]


def common_name(names: Sequence[str]) -> str:
  """Return the words that names begin with in common: 'a_seed1' and 'a_seed2' give 'a'."""
  if len(names) == 1:
    return names[0]
  words = zip(*(re.split(r'(?<=[-_./ ])', name) for name in names), strict=False)
  common = ''.join(w[0] for w in itertools.takewhile(lambda each: len(set(each)) == 1, words))
  common = re.sub(r'([-_./ ]|\b(seed|run)\b)*$', '', common)
  return common or f'{names[0]} and {names[1] if len(names) == 2 else "others"}'
