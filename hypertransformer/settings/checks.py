"""Checks of the fields of a configuration; each names the flag that a person would correct."""

from __future__ import annotations

from typing import Any

from hypertransformer.errors import require


def positive(config: Any, **flags: str) -> None:
  """Fields that must be positive, each with the name of its flag for the message."""
  for field, flag in flags.items():
    value = getattr(config, field)
    require(value > 0, f'{flag} is {value}; it must be positive.')


def not_negative(config: Any, **flags: str) -> None:
  for field, flag in flags.items():
    value = getattr(config, field)
    require(value >= 0, f'{flag} is {value}; it must not be negative.')


def fraction(config: Any, **flags: str) -> None:
  """Fields in [0, 1)."""
  for field, flag in flags.items():
    value = getattr(config, field)
    require(0.0 <= value < 1.0, f'{flag} is {value}; it must be at least 0 and below 1.')


def one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
  require(value in choices, f'{name} is {value!r}; known are {", ".join(choices)}.')
