"""Splits and joins the vectors of transformer blocks: biases, and scales and offsets of norms.

In the original each of them is a variable. Here all vectors of a block are parts of one variable
`vectors` (model/block_vectors.py). docs/spec/model.md, section 7, gives their order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from hypertransformer import errors
from hypertransformer.model import block_vectors

Variables = Mapping[str, np.ndarray]  # the value of each variable by its name

_BLOCK = re.compile(r'(?:.+/)?(en|de)coder_\d+(?=/)')
_PARTS = {'en': block_vectors.ENCODER, 'de': block_vectors.DECODER}
_OURS = re.compile(r'model/generator_\d+/transformer/(en|de)coder_\d+/vectors')


def is_together(name: str) -> bool:
  """Whether a variable of this name holds all vectors of a block, in a model of ours."""
  return _OURS.fullmatch(name) is not None


def separate(variables: Variables) -> dict[str, np.ndarray]:
  """Splits every `vectors` among our variables, so that each vector has a name of its own.

  The widths of the vectors are told by the kernels of the block.

  Returns:
    All variables; those that are no `vectors` as they were.

  Raises:
    InputError: a kernel is missing, or the widths do not add up to the size of `vectors`.
  """
  result: dict[str, np.ndarray] = {}
  for name, value in variables.items():
    block = _BLOCK.match(name)
    if block is None or name != f'{block[0]}/vectors':
      result[name] = value
    else:
      result |= _split(variables, name, value, _parts(variables, block))
  return result


def join(variables: Variables) -> dict[str, np.ndarray]:
  """Joins the vectors of each block into its variable `vectors`; the reverse of `separate`.

  Returns:
    All variables. Blocks whose vectors are joined already stay as they are.

  Raises:
    InputError: a vector of a block is missing.
  """
  result = dict(variables)
  blocks = {
    found[0]: _parts(variables, found)
    for name in variables
    if (found := _BLOCK.match(name)) is not None and f'{found[0]}/vectors' not in variables
  }
  for block, parts in blocks.items():
    if missing := [part for part in parts if f'{block}/{part}' not in result]:
      raise errors.InputError(
        f'{block}: there is no {" and no ".join(missing)}. The checkpoint is incomplete.'
      )
    result[f'{block}/vectors'] = np.concatenate([result.pop(f'{block}/{part}') for part in parts])
  return result


def _parts(variables: Variables, block: re.Match[str]) -> Sequence[str]:
  """Returns the names of the block's vectors; a block without a feed-forward part has fewer."""
  parts = _PARTS[block[1]]
  if any(name.startswith(f'{block[0]}/feed_forward') for name in variables):
    return parts
  return block_vectors.without_feed_forward(parts)


def _split(
  variables: Variables, name: str, value: np.ndarray, parts: Sequence[str]
) -> dict[str, np.ndarray]:
  """Splits the `vectors` of one block, named `name`, into its parts.

  A bias is as wide as its kernel; all other vectors are as wide as a token, which is the width of
  the attention's output.
  """
  block = name.removesuffix('vectors')
  kernels = [
    block
    + (part.removesuffix('bias') if part.endswith('/bias') else 'self_attention/output/')
    + 'kernel'
    for part in parts
  ]
  if missing := sorted({kernel for kernel in kernels if kernel not in variables}):
    raise errors.InputError(
      f'{name} cannot be split: there is no {" and no ".join(missing)}. '
      'The checkpoint is incomplete.'
    )
  widths = [variables[kernel].shape[-1] for kernel in kernels]
  if value.shape != (sum(widths),):
    raise errors.InputError(
      f'{name} has shape {value.shape}, but the kernels of its block make it ({sum(widths)},).'
    )
  pieces = np.split(value, np.cumsum(widths)[:-1])
  return {block + part: piece for part, piece in zip(parts, pieces, strict=True)}
