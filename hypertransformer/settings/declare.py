"""How a configuration field declares the flag that sets it."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from hypertransformer.errors import require

_MOST_SHOWN = 200  # letters of a value in a message
_ANY = {int: '(-9.2e18, 9.2e18)', float: '(-inf, inf)'}


@dataclasses.dataclass(frozen=True)
class Flag:
  """One flag of the command line.

  Attributes:
    name: the name without dashes.
    default: the value if the flag is not given.
    help: the text that --help shows.
    within: the interval of allowed numbers, such as '[0, 1)'.
    kind: the type of the value: int, float, bool or str.
    choices: the only allowed values; () if there is no such list.
    unset: a default outside of the interval, which means that the flag is not set.
    path: whether the value is a path.
    model: whether another value makes another model, or mixes training and test classes, so that a
      run cannot be resumed with it.
    affects: the results that depend on it. 'run': none, as it only says where files are or how the
      work is done; 'nothing': it has no effect at all.
    continual: True if it requires --continual_scenario, False if it is incompatible with that.
  """

  name: str
  default: Any
  help: str
  within: str = ''
  kind: type = str
  choices: tuple[str, ...] = ()
  unset: Any = None
  path: bool = False
  model: bool = False
  affects: Literal['both', 'training', 'evaluation', 'run', 'nothing'] = 'both'
  continual: bool | None = None

  def check(self, value: Any) -> None:
    """Check a value of the flag.

    Raises:
      InputError: it has another type, or is not allowed.
    """
    if value == self.unset == self.default:
      return
    shown = repr(value)[:_MOST_SHOWN]
    require(
      type(value) is self.kind or (self.kind is float and type(value) is int),
      f'{self.name} is {shown}; it must be of type {self.kind.__name__}.',
    )
    if self.choices:
      known = ', '.join(self.choices)
      require(value in self.choices, f'{self.name} is {shown}; it must be one of {known}.')
    if self.kind in _ANY:
      interval = self.within or _ANY[self.kind]
      require(_contains(interval, value), f'{self.name} is {shown}; it must be in {interval}.')
    if self.path:
      require(
        value.encode(errors='ignore').decode() == value,
        f'{self.name} is {shown}, which is not a path in UTF-8. Rename the directory.',
      )


def _contains(interval: str, value: float) -> bool:
  low, high = map(float, interval[1:-1].split(','))
  above = low <= value if interval[0] == '[' else low < value
  return above and (value <= high if interval[-1] == ']' else value < high)


def flag(
  default: Any,
  help_text: str,
  within: str = '',
  *,
  name: str = '',
  kind: type | None = None,
  field: Any = ...,
  **attributes: Any,
) -> Any:
  """Declare the flag of a field of a configuration.

  Args:
    default: the default of the flag, and of the field unless `field` is given.
    help_text: the text that --help shows.
    within: the interval of allowed numbers.
    name: the name of the flag if it is not that of the field.
    kind: the type of the flag if its default is None.
    field: the default of the field.
    **attributes: further attributes of `Flag`.
  """
  declared = Flag(name, default, help_text, within, kind or type(default), **attributes)
  value = default if field is ... else field
  return dataclasses.field(default=value, metadata={'flag': declared})


def declared_by(config: Any) -> dict[str, Flag]:
  """Return the flags that a configuration class declares, by the names of their fields."""
  return {
    field.name: dataclasses.replace(flag, name=flag.name or field.name)
    for field in dataclasses.fields(config)
    if (flag := field.metadata.get('flag'))
  }
