"""Splits and joins the projections (queries, keys, values) of an attention.

The original has a variable for each. Here those that see the same tokens lie side by side in the
last axis of one variable, so that one product computes them all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from hypertransformer import errors
from hypertransformer.original.templates import Pair

Variables = Mapping[str, np.ndarray]  # the value of each variable by its name


@dataclasses.dataclass(frozen=True)
class Joined:
  """A variable of ours that is several variables of the original.

  Attributes:
    pair: our name, and the original's, in which the braces of `field` stand for the part.
    field: the name of that field.
    parts: the parts, as values of the field, in the order of our columns.
  """

  pair: Pair
  field: str
  parts: tuple[str, ...]


def join(variables: Variables, joined: Joined) -> dict[str, np.ndarray]:
  """Makes our joined variables of the original's; all others are left out.

  Raises:
    InputError: a part is missing.
  """
  found: dict[str, dict[str, np.ndarray]] = {}
  for name, value in variables.items():
    if (fields := joined.pair.original.match(name)) is not None:
      found.setdefault(joined.pair.ours.fill(fields), {})[fields[joined.field]] = value
  for name, parts in found.items():
    if missing := [part for part in joined.parts if part not in parts]:
      raise errors.InputError(
        f"{name}: the original's checkpoint has no {' and no '.join(missing)} for it. "
        'The checkpoint is incomplete.'
      )
  return {
    name: np.concatenate([parts[part] for part in joined.parts], axis=-1)
    for name, parts in found.items()
  }


def split(variables: Variables, joined: Joined) -> dict[str, np.ndarray]:
  """Makes the original's variables of our joined ones; all others are left out.

  Raises:
    InputError: the kernel of the attention's output, whose number of rows is the width of the
      values, is missing or does not fit.
  """
  result = {}
  for name, value in variables.items():
    if (fields := joined.pair.ours.match(name)) is not None:
      parts = np.split(value, _bounds(variables, name, value.shape[-1], len(joined.parts)), axis=-1)
      result.update(
        {
          joined.pair.original.fill({**fields, joined.field: part}): columns
          for part, columns in zip(joined.parts, parts, strict=True)
        }
      )
  return result


def _bounds(variables: Variables, name: str, width: int, parts: int) -> list[int]:
  """Returns the columns at which all parts but the last one end.

  The last part is the values, as wide as the attention's output kernel has rows. The parts before
  it (keys, or queries and keys) are equally wide.
  """
  output = name.rsplit('/', 2)[0] + '/output/kernel'
  if output not in variables:
    raise errors.InputError(
      f'{name} cannot be split: there is no {output}. The checkpoint is incomplete.'
    )
  each, rest = divmod(width - len(variables[output]), parts - 1)
  if rest or each < 1:
    raise errors.InputError(
      f'{name} has {width} columns, which does not fit {output} with its '
      f'{len(variables[output])} rows.'
    )
  return [each * number for number in range(1, parts)]
