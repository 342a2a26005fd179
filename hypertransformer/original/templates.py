"""Templates of variable names, in pairs: one of our name, one of the original's.

A template is a variable name with fields in braces, such as 'model/cnn/head_{i}/logits/{part}'. It
both recognises names and builds them, so that a table of pairs converts in both directions.
"""

from __future__ import annotations

import dataclasses
import re
import string

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


def pair(ours: str, original: str | None = None) -> Pair:
  """Makes a pair of templates; a name that is the same on both sides is given once."""
  return Pair(
    Template(ours, of_original=False),
    Template(ours if original is None else original, of_original=True),
  )
