"""Whatever values flags have, they make settings or one clear error, and nothing else."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings, strategies

from hypertransformer.errors import InputError
from hypertransformer.settings import flags

WHOLE = strategies.one_of(
  strategies.integers(-3, 40), strategies.integers(), strategies.integers(10**5, 10**12)
)
REAL = strategies.one_of(strategies.floats(0, 1), strategies.floats())


def value_of(flag: flags.Flag) -> strategies.SearchStrategy[Any]:
  """Values that the command line can give this flag."""
  if flag.choices:
    return strategies.sampled_from(flag.choices)
  kinds: dict[type, strategies.SearchStrategy[Any]] = {
    int: WHOLE,
    float: REAL,
    bool: strategies.booleans(),
    str: strategies.text(max_size=12),
  }
  return kinds[flag.kind]


CHANGES = strategies.lists(
  strategies.sampled_from(flags.ALL_FLAGS).flatmap(
    lambda flag: strategies.tuples(strategies.just(flag.name), value_of(flag))
  ),
  max_size=6,
)


def error_of(changes: dict[str, Any]) -> str:
  """What these values are refused with; '' if they are not."""
  try:
    flags.settings_from({**flags.defaults(), **changes})
  except InputError as error:
    return str(error)
  return ''


@given(CHANGES)
@settings(max_examples=300, deadline=None)
def test_any_values_make_settings_or_one_short_error(changes: list[tuple[str, Any]]) -> None:
  error = error_of(dict(changes))
  assert len(error.splitlines()) <= 1
  assert len(error) < 1500


@given(
  strategies.sampled_from([f for f in flags.ALL_FLAGS if f.kind is not str]).flatmap(
    lambda flag: strategies.tuples(strategies.just(flag), value_of(flag))
  )
)
@settings(max_examples=200, deadline=None)
def test_an_error_about_one_flag_names_it(change: tuple[flags.Flag, Any]) -> None:
  flag, value = change
  error = error_of({flag.name: value})
  assert not error or flag.name in error
