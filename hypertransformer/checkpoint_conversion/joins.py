"""Splits and joins the projections (queries, keys, values) of an attention.

The original has a variable for each. Here those that see the same tokens lie side by side in the
last axis of one variable, so that one product computes them all.
"""

from __future__ import annotations

import dataclasses
import re
import string
from collections.abc import Mapping, Sequence

import numpy as np

from hypertransformer import errors
from hypertransformer.model import transformer

_ORDINAL = r'[1-9]\d*'  # layers, blocks and convolutions are numbered from 1
# Fields whose values are numbers: field -> regular expression of its values.
_PATTERNS = {
  'l': _ORDINAL,  # CNN layer, the last one is the logits layer
  'n': _ORDINAL,  # transformer block
  'i': _ORDINAL,  # convolution of a feature extractor, or warm-up head
  'row': r'0|[1-9]\d*',  # row of an embedding table
  'builder': r'|_[1-9]\d*',  # TensorFlow's counter of equal scope names: '', '_1', '_2', ...
  'count': r'|_[1-9]\d*',  # such a counter over all layer norms of the graph
}


def _same(*words: str) -> dict[str, str]:
  return {word: word for word in words}


# Fields whose values are words: field -> our word -> the original's word.
WORDS = {
  'part': _same('kernel', 'bias'),
  'affine': _same('gamma', 'beta'),
  'average': _same('moving_mean', 'moving_variance'),
  'projection': {'query': 'q', 'key': 'k', 'value': 'v'},
  'key_or_value': {'key': 'k', 'value': 'v'},
  'dense': {'inner': 'layer_1', 'outer': 'layer_2'},
  'attention': {'self_attention': 'attention_1', 'cross_attention': 'attention_2'},
  'pass': {'cnn': '', 'cnn_query': '-eval'},
  # The layer norms of one block in the order of construction; only our names have them.
  'encoder_norm': _same('self_attention_norm', 'feed_forward_norm'),
  'decoder_norm': _same('self_attention_norm', 'cross_attention_norm', 'feed_forward_norm'),
}


class Template:
  """A name of one side, with fields in braces. The values of fields are always in our words."""

  def __init__(self, text: str, of_original: bool) -> None:
    """Reads the template.

    Args:
      text: the name, with fields in braces.
      of_original: whether names have the original's words, or ours.
    """
    self._parts = [(literal, field) for literal, field, _, _ in string.Formatter().parse(text)]
    self._words = {
      field: {ours: (theirs if of_original else ours) for ours, theirs in words.items()}
      for field, words in WORDS.items()
    }
    self._regex = re.compile(self._pattern())

  def match(self, name: str) -> dict[str, str] | None:
    """Returns the values of the fields in a name of this form; None for any other name."""
    match = self._regex.fullmatch(name)
    return match and {
      field: self._to_ours(field, value) for field, value in match.groupdict().items()
    }

  def fill(self, fields: dict[str, str]) -> str:
    """Builds the name from values of the fields; fields that it does not have are ignored."""
    return ''.join(
      literal + (self._words.get(field, {}).get(fields[field], fields[field]) if field else '')
      for literal, field in self._parts
    )

  def _pattern(self) -> str:
    pattern, seen = '', set()
    for literal, field in self._parts:
      pattern += re.escape(literal)
      if field in seen:  # the original repeats some numbers: layer_2/layer_2
        pattern += f'(?P={field})'
      elif field:
        seen.add(field)
        pattern += f'(?P<{field}>{self._alternatives(field)})'
    return pattern

  def _alternatives(self, field: str) -> str:
    if field in _PATTERNS:
      return _PATTERNS[field]
    return '|'.join(re.escape(word) for word in self._words[field].values())

  def _to_ours(self, field: str, value: str) -> str:
    words = self._words.get(field, {})
    return next((ours for ours, word in words.items() if word == value), value)


@dataclasses.dataclass(frozen=True)
class Pair:
  """The names of the same variables on both sides.

  Attributes:
    ours: template of our names.
    original: template of the original's names.
  """

  ours: Template
  original: Template


def pair_of(ours: str, original: str | None = None) -> Pair:
  """Makes a pair of templates; a name that is the same on both sides is given once."""
  return Pair(
    Template(ours, of_original=False),
    Template(ours if original is None else original, of_original=True),
  )


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


def join_projections(variables: Variables, joined: Joined) -> dict[str, np.ndarray]:
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


def split_projections(variables: Variables, joined: Joined) -> dict[str, np.ndarray]:
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


_BLOCK = re.compile(r'(?:.+/)?(en|de)coder_\d+(?=/)')
_PARTS = {'en': transformer.ENCODER, 'de': transformer.DECODER}
_OURS = re.compile(r'model/generator_\d+/transformer/(en|de)coder_\d+/vectors')


def is_together(name: str) -> bool:
  """Whether a variable of this name holds all vectors of a block, in a model of ours."""
  return _OURS.fullmatch(name) is not None


def separate_vectors(variables: Variables) -> dict[str, np.ndarray]:
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


def join_vectors(variables: Variables) -> dict[str, np.ndarray]:
  """Joins the vectors of each block into its variable `vectors`; the reverse of `separate_vectors`.

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
  return transformer.without_feed_forward(parts)


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
