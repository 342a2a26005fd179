"""Checks of the fields of a configuration.

They raise an InputError whose message names the flag that a person would correct.
"""

from __future__ import annotations

from typing import Any

from hypertransformer.errors import require


def positive(config: Any, **flags: str) -> None:
  """Checks that fields are above 0.

  Args:
    config: the configuration that has the fields.
    **flags: for each field to check, the name of its flag, for the message.

  Raises:
    InputError: a field is 0 or negative.
  """
  for field, flag in flags.items():
    value = getattr(config, field)
    require(value > 0, f'{flag} is {value}; it must be positive.')


def not_negative(config: Any, **flags: str) -> None:
  """Checks that fields are 0 or above; arguments and errors are those of `positive`."""
  for field, flag in flags.items():
    value = getattr(config, field)
    require(value >= 0, f'{flag} is {value}; it must not be negative.')


def fraction(config: Any, **flags: str) -> None:
  """Checks that fields are at least 0 and below 1; arguments and errors are those of `positive`."""
  for field, flag in flags.items():
    value = getattr(config, field)
    require(0.0 <= value < 1.0, f'{flag} is {value}; it must be at least 0 and below 1.')


def one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
  """Checks that the value of the flag `name` is one of the choices; raises InputError otherwise."""
  require(value in choices, f'{name} is {value!r}; known are {", ".join(choices)}.')
