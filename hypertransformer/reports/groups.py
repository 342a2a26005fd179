"""Puts runs that differ in nothing but their seed together, and tells in which flags groups differ.

Flags that only say where files are, or how the work is done, are not looked at.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Sequence
from typing import Any

from hypertransformer.reports.runs import Run
from hypertransformer.settings import flags

# Flags of which a run's numbers do not depend, besides those that have no effect at all.
WITHOUT_INFLUENCE = {
  'train_log_dir',
  'data_numpy_dir',
  'data_dir',
  'steps_between_saves',
  'kernel_threads',
  'eval_once',
  'eval_checkpoint',
  'eval_timeout_secs',
  *flags.WITHOUT_EFFECT,
}
_DEFAULTS = {flag.name: flag.default for flag in flags.ALL_FLAGS}


@dataclasses.dataclass(frozen=True)
class Group:
  """Runs with the same flags and different seeds.

  Attributes:
    name: what their folders have in common; of a single run its name.
    runs: the runs, in the order in which they were given.
  """

  name: str
  runs: list[Run]

  @property
  def values(self) -> dict[str, Any]:
    """The value of every flag by its name; `seed` is that of the first run."""
    return self.runs[0].values


def group(runs: Sequence[Run]) -> list[Group]:
  """Groups runs, in the order of the first run of each group.

  Two runs with the same flags and the same seed are two runs of one group: a person who gives both
  wants both to count.
  """
  found: dict[str, list[Run]] = {}
  for run in runs:
    found.setdefault(repr(sorted(influential(run).items())), []).append(run)
  names = _unique([common_name([run.name for run in group]) for group in found.values()])
  return [Group(name, group) for name, group in zip(names, found.values(), strict=True)]


def influential(run: Run) -> dict[str, Any]:
  """The flags on which a run's numbers depend, by name, without its seed."""
  return {
    name: value
    for name, value in run.values.items()
    if name not in WITHOUT_INFLUENCE and name != 'seed'
  }


def differences(groups: Sequence[Group]) -> dict[str, list[Any]]:
  """The flags in which groups differ: for each name its value in each group, in their order."""
  values = [influential(each.runs[0]) for each in groups]
  names = dict.fromkeys(name for each in values for name in each)
  found = {name: [each.get(name, _DEFAULTS.get(name)) for each in values] for name in names}
  return {name: each for name, each in found.items() if any(one != each[0] for one in each)}


def common_name(names: Sequence[str]) -> str:
  """What names of folders have in common: 'a_seed1' and 'a_seed2' give 'a'."""
  if len(names) == 1:
    return names[0]
  letters = zip(min(names), max(names), strict=False)
  common = ''.join(a for a, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], letters))
  return re.sub(r'[-_./ ]*(seed|run)?[-_./ ]*$', '', common) or f'{names[0]} and others'


def _unique(names: list[str]) -> list[str]:
  """Adds a number to names that are there already."""
  return [
    name if names.count(name) == 1 else f'{name} ({names[: number + 1].count(name)})'
    for number, name in enumerate(names)
  ]
