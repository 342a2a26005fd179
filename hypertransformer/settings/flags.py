"""Flags and the command line: defining them, their defaults, and reading their values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from absl import flags, logging

from hypertransformer.settings.flag_table import ALL_FLAGS, WITHOUT_EFFECT

Values = Mapping[str, Any]  # the value of every flag by its name, without dashes


def define(flag_values: flags.FlagValues = flags.FLAGS) -> None:
  """Defines every flag of the table, on absl's command line unless another is given."""
  makers = {
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    bool: flags.DEFINE_bool,
    str: flags.DEFINE_string,
  }
  for flag in ALL_FLAGS:
    if flag.choices:
      flags.DEFINE_enum(
        flag.name, flag.default, list(flag.choices), flag.help, flag_values=flag_values
      )
    else:
      makers[flag.kind](flag.name, flag.default, flag.help, flag_values=flag_values)


def defaults() -> dict[str, Any]:
  """Returns the default value of every flag by its name."""
  return {flag.name: flag.default for flag in ALL_FLAGS}


def values(flag_values: flags.FlagValues = flags.FLAGS) -> dict[str, Any]:
  """Returns the value of every flag by its name.

  One warning names all flags that are set although they have no effect.
  """
  result = {flag.name: flag_values[flag.name].value for flag in ALL_FLAGS}
  unchanged = defaults()
  idle = [name for name in WITHOUT_EFFECT if result[name] != unchanged[name]]
  if idle:
    logging.warning(
      'These flags are accepted but have no effect: %s', ', '.join(f'--{name}' for name in idle)
    )
  return result
