"""Variables of the original that are one variable of ours: the projections of an attention that see
the same tokens.

Ours lie side by side in the last axis, so that one product computes them all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from hypertransformer import errors
from hypertransformer.original.templates import Pair

Variables = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Joined:
  """pair: our name, and the original's with a {field} for the part; parts: its values, in the order
  of our columns.
  """

  pair: Pair
  field: str
  parts: tuple[str, ...]


def join(variables: Variables, joined: Joined) -> dict[str, np.ndarray]:
  """Our variables from the original's. Raises InputError when a part is missing."""
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
  """The original's variables from ours. Raises InputError when the output projection, which tells
  the width of the values, is missing.
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
  """Where all but the last part end. The values are last; queries and keys are equally wide."""
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
