"""Converts variables between the original's names and shapes and ours.

docs/spec/model.md, section 7, is the specification. Variables are NumPy arrays by name. They are
all that is needed: no model is built.

Several of the original's variables are one variable here: the rows of an embedding table; queries,
keys and values of an attention; and all biases, scales and offsets of a transformer block
(`vectors`). An export splits these first, and an import joins them last. In between, every variable
of the original has one of ours, with another name (PAIRS). The original numbers its layer norms
over the whole graph, in the order in which they are built; our names say which norm of a block it
is.

The original has moving averages for its batch norms but neither updates nor reads them; we have
none. How it names the batch norms of '-bn' feature extractors is unknown, so these are refused.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from hypertransformer.errors import InputError, require
from hypertransformer.model import transformer

Variables = Mapping[str, np.ndarray]  # the value of each variable by its name
IMPORT, EXPORT = 'import', 'export'  # from the original to us, and from us to the original

# Fields of templates: regular expressions of their values, or our word -> the original's word.
_ORDINAL = r'[1-9]\d*'  # layers, blocks and convolutions are numbered from 1
_FIELDS: dict[str, str | dict[str, str]] = {
  'l': _ORDINAL,  # CNN layer, the last one is the logits layer
  'n': _ORDINAL,  # transformer block
  'i': _ORDINAL,  # convolution of a feature extractor, or warm-up head
  'row': r'0|[1-9]\d*',  # row of an embedding table: label or weight block
  'scope': r'|_[1-9]\d*',  # TensorFlow's counter of equal scope names: '', '_1', '_2', ...
  'count': r'|_[1-9]\d*',  # such a counter over all layer norms of the graph
  'part': 'kernel|bias',
  'affine': 'gamma|beta',
  'average': 'moving_mean|moving_variance',
  'projection': {'query': 'q', 'key': 'k', 'value': 'v'},
  'dense': {'inner': 'layer_1', 'outer': 'layer_2'},
  'attention': {'self_attention': 'attention_1', 'cross_attention': 'attention_2'},
  'pass': {'cnn': '', 'cnn_query': '-eval'},
}
# The layer norms of a block in the order in which the original builds them, encoder blocks first.
_NORMS = {
  'encoder': ('self_attention_norm', 'feed_forward_norm'),
  'decoder': ('self_attention_norm', 'cross_attention_norm', 'feed_forward_norm'),
}


class Template:
  """A variable name with fields in braces, which recognizes names and builds them.

  The values of fields are in our words, on both sides.
  """

  def __init__(self, text: str, of_original: bool) -> None:
    """Parse the template.

    Args:
      text: The name, with fields in braces.
      of_original: Whether names contain the original's words, not ours.
    """
    self._parts = [(literal, field) for literal, field, _, _ in string.Formatter().parse(text)]
    self._words = {
      field: words if of_original else {word: word for word in words}
      for field, words in _FIELDS.items()
      if isinstance(words, dict)
    }
    pattern, seen = '', set()
    for literal, field in self._parts:
      pattern += re.escape(literal)
      if field in seen:  # the original repeats some numbers: layer_2/layer_2
        pattern += f'(?P={field})'
      elif field:
        seen.add(field)
        values = _FIELDS[field]
        if isinstance(values, dict):
          values = '|'.join(map(re.escape, self._words[field].values()))
        pattern += f'(?P<{field}>{values})'
    self._regex = re.compile(pattern)

  def match(self, name: str) -> dict[str, str] | None:
    """Return the values of the fields in a name of this form; None for any other name."""
    match = self._regex.fullmatch(name)
    if match is None:
      return None
    words = {field: {word: ours for ours, word in w.items()} for field, w in self._words.items()}
    return {field: words.get(field, {}).get(v, v) for field, v in match.groupdict().items()}

  def fill(self, fields: Mapping[str, str]) -> str:
    """Build the name from values of the fields; further fields are ignored."""
    return ''.join(
      literal + (self._words.get(field, {}).get(fields[field], fields[field]) if field else '')
      for literal, field in self._parts
    )


def _pairs(*names: tuple[str, str]) -> list[tuple[Template, Template]]:
  return [(Template(ours, False), Template(theirs, True)) for ours, theirs in names]


_OURS = 'model/generator_{l}/'
_THEIRS = 'model/cnn_builder/builder_layer_{l}_generator/'
_SETUP = 'model/cnn_builder/layer_{l}_generator_setup/'
_STACK = _THEIRS + 'transformer/transformer/'
# Our name first, as it is when joined variables are split.
PAIRS = _pairs(
  ('global_step', 'global_step'),
  ('model/shared_features/layer_{i}/{part}', 'model/shared_features/layer_{i}/{part}'),
  ('loss/shared_head/{part}', 'loss/shared_head/fc/{part}'),
  (_OURS + 'label_embeddings/{row}', _SETUP + 'label_embeddings/label_{row}'),
  (_OURS + 'weight_embeddings/{row}', _SETUP + 'weight_embeddings/weight_{row}'),
  (_OURS + 'features/layer_{i}/{part}', _THEIRS + 'feature_extractor/layer_{i}/{part}'),
  (
    _OURS + 'transformer/encoder_{n}/self_attention/{projection}/{part}',
    _STACK + 'encoder/layer_{n}/attention/{projection}/{part}',
  ),
  (
    _OURS + 'transformer/encoder_{n}/self_attention/output/{part}',
    _STACK + 'encoder/layer_{n}/attention/fc/{part}',
  ),
  (
    _OURS + 'transformer/decoder_{n}/{attention}/{projection}/{part}',
    _STACK + 'decoder/layer_{n}/{attention}/{projection}/{part}',
  ),
  (
    _OURS + 'transformer/decoder_{n}/{attention}/output/{part}',
    _STACK + 'decoder/layer_{n}/{attention}/fc/{part}',
  ),
  (
    _OURS + 'transformer/encoder_{n}/feed_forward/{dense}/{part}',
    _STACK + 'encoder/layer_{n}/fc/{dense}/{part}',
  ),
  (
    _OURS + 'transformer/decoder_{n}/feed_forward/{dense}/{part}',
    _STACK + 'decoder/layer_{n}/fc/{dense}/{part}',
  ),
  ('model/{pass}/layer_{l}/conv/{part}', 'model/cnn/layer_{l}/conv/{part}{pass}'),
  (
    'model/{pass}/layer_{l}/batch_norm/{affine}',
    'model/cnn/layer_{l}/batch_normalization/{affine}{pass}',
  ),
  ('model/{pass}/layer_{l}/logits/{part}', 'model/cnn/layer_{l}/fc/{part}{pass}'),
  ('model/{pass}/head_{i}/logits/{part}', 'model/cnn/head_layer_{i}/fc/{part}{pass}'),
)
# The scopes of the original's layer norms have two more counters: one of the builder's scope
# ({scope} is l - 1), and one of 'layer_{n}', which the decoder opens a second time.
_BUILDER = 'model/cnn_builder{scope}/builder_layer_{l}_generator/transformer/'
_THEIR_NORMS = {
  'encoder': Template(
    _BUILDER + 'layer_{n}/layer_{n}/layer_normalization{count}/{affine}', of_original=True
  ),
  'decoder': Template(
    _BUILDER + 'layer_{n}_1/layer_{n}/layer_normalization{count}/{affine}', of_original=True
  ),
}
MOVING_AVERAGE = Template(
  'model/cnn/layer_{l}/batch_normalization/{average}{pass}', of_original=True
)

_OUR_NORM = re.compile(
  r'model/generator_(\d+)/transformer/(encoder|decoder)_(\d+)/(\w+_norm)/(gamma|beta)'
)
_BLOCK = re.compile(r'(.*\b(en|de)coder_\d+)/.+')
_PROJECTION = re.compile(r'(.+/self_attention|.+/cross_attention)/(query|key|value)/(kernel|bias)')
_PROJECTIONS = re.compile(
  r'(.+/self_attention|.+/cross_attention)/(query_key_value|key_value)/(kernel|bias)'
)
_ROW = re.compile(r'(model/generator_\d+/(?:label|weight)_embeddings)/(\d+)')
_TABLE = re.compile(r'model/generator_(\d+)/(label|weight)_embeddings')
_GENERATED_HEAD = re.compile(r'model/head_generator_\d+/.+')

# Variables without a counterpart on the other side.
_DROPPED = {
  IMPORT: re.compile(r'augmentations?/.+|.+/batch_normalization/moving_(mean|variance)(-eval)?'),
  EXPORT: re.compile(r'(.+/)?beta[12]_power|.+/(Momentum|Adam|Adam_1)'),
}


def import_variables(variables: Variables) -> dict[str, np.ndarray]:
  """Make our variables of the original's, which may be in any order.

  Raises:
    InputError: A name is unknown, the variables are ours already, or parts of a variable are
      missing. The message names the variables.
  """
  _check_names(variables, IMPORT)
  renamed = {
    ours.fill(fields): value
    for name, value in variables.items()
    for ours, theirs in PAIRS
    if (fields := theirs.match(name)) is not None
  }
  return join_vectors(_join({**renamed, **_import_norms(variables, renamed)}))


def export_variables(variables: Variables, separate_query: bool = False) -> dict[str, np.ndarray]:
  """Make the original's variables of ours. Moving averages are added, as zeros and ones.

  Args:
    variables: Ours.
    separate_query: Whether the model was trained with --separate_evaluation_bn_vars, so that its
      query pass has moving averages of its own. This matters only if all of its batch norms are
      generated; otherwise the variables show it.

  Raises:
    InputError: A name is unknown, the variables are the original's already, there are generated
      warm-up heads, which the original does not have, or kernels of a block are missing.
  """
  _check_names(variables, EXPORT)
  heads = [name for name in variables if _GENERATED_HEAD.fullmatch(name)]
  require(
    not heads,
    f'The original has no generated warm-up heads, so {_listed(heads)} cannot be exported. Train '
    'with --warmup_heads=trained.',
  )
  apart = _split(separate_vectors(variables))
  renamed = {
    theirs.fill(fields): value
    for name, value in apart.items()
    for ours, theirs in PAIRS
    if (fields := ours.match(name)) is not None
  }
  return {**renamed, **_export_norms(apart), **_moving_averages(variables, separate_query)}


def is_dropped(name: str, direction: str) -> bool:
  """Return whether a conversion drops a variable: it has no counterpart on the other side."""
  return _DROPPED[direction].fullmatch(name) is not None


def separate_vectors(variables: Variables) -> dict[str, np.ndarray]:
  """Split every `vectors` among our variables, so that each vector has a name of its own.

  A bias is as wide as its kernel; all other vectors are as wide as a token, which is the width of
  the attention's output.

  Raises:
    InputError: A kernel is missing, or the widths do not add up to the size of `vectors`.
  """
  result: dict[str, np.ndarray] = {}
  for name, value in variables.items():
    match = _BLOCK.fullmatch(name)
    if match is None or name != f'{match[1]}/vectors':
      result[name] = value
      continue
    block, parts = match[1], _vectors_of(match, variables)
    owners = [
      part.removesuffix('bias') if part.endswith('/bias') else 'self_attention/output/'
      for part in parts
    ]
    widths = [_found(variables, f'{block}/{owner}kernel', name).shape[-1] for owner in owners]
    pieces = _cut(name, value, widths)
    result |= {f'{block}/{part}': piece for part, piece in zip(parts, pieces, strict=True)}
  return result


def join_vectors(variables: Variables) -> dict[str, np.ndarray]:
  """Join the vectors of each block into its variable `vectors`; the reverse of `separate_vectors`.

  Raises:
    InputError: A vector of a block is missing.
  """
  result = dict(variables)
  matches = (_BLOCK.fullmatch(name) for name in variables)
  blocks = {match[1]: _vectors_of(match, variables) for match in matches if match}
  for block, parts in blocks.items():
    if f'{block}/vectors' not in variables:
      pieces = [_found(result, f'{block}/{part}', f'{block}/vectors') for part in parts]
      for part in parts:
        del result[f'{block}/{part}']
      result[f'{block}/vectors'] = np.concatenate(pieces)
  return result


def _vectors_of(block: re.Match[str], variables: Variables) -> Sequence[str]:
  """Return the names of a block's vectors; a block without a feed-forward part has fewer."""
  parts = transformer.ENCODER if block[2] == 'en' else transformer.DECODER
  if any(name.startswith(f'{block[1]}/feed_forward/') for name in variables):
    return parts
  return transformer.without_feed_forward(parts)


def _split(variables: Variables) -> dict[str, np.ndarray]:
  """Split the projections of attentions, and the rows of embedding tables.

  The values are as wide as the attention's output kernel has rows; queries and keys share the rest.
  """
  result: dict[str, np.ndarray] = {}
  for name, value in variables.items():
    if match := _PROJECTIONS.fullmatch(name):
      projections = match[2].split('_')
      rows = len(_found(variables, f'{match[1]}/output/kernel', name))
      each = (value.shape[-1] - rows) // (len(projections) - 1)
      pieces = _cut(name, value, [each] * (len(projections) - 1) + [rows])
      for projection, piece in zip(projections, pieces, strict=True):
        result[f'{match[1]}/{projection}/{match[3]}'] = piece
    elif _TABLE.fullmatch(name):
      require(value.ndim == 2, f'{name} has shape {value.shape}; expected [rows, embedding_dim].')
      result |= {f'{name}/{row}': value[row] for row in range(len(value))}
    else:
      result[name] = value
  return result


def _join(variables: Variables) -> dict[str, np.ndarray]:
  """Do the reverse of `_split`."""
  result: dict[str, np.ndarray] = {}
  rows: dict[str, dict[int, np.ndarray]] = {}
  for name, value in variables.items():
    match = _PROJECTION.fullmatch(name)
    if match and not name.endswith(('cross_attention/query/kernel', 'cross_attention/query/bias')):
      joined = 'query_key_value' if match[1].endswith('self_attention') else 'key_value'
      target = f'{match[1]}/{joined}/{match[3]}'
      parts = [f'{match[1]}/{each}/{match[3]}' for each in joined.split('_')]
      result[target] = np.concatenate([_found(variables, each, target) for each in parts], axis=-1)
    elif row := _ROW.fullmatch(name):
      rows.setdefault(row[1], {})[int(row[2])] = value
    else:
      result[name] = value
  for name, found in rows.items():
    shapes = {value.shape for value in found.values()}
    require(
      sorted(found) == list(range(len(found))) and len(shapes) == 1,
      f'{name}: the checkpoint has rows {_listed(map(str, sorted(found)))} of shapes '
      f'{sorted(shapes)}; expected rows from 0 on, of one shape. The checkpoint is incomplete.',
    )
    result[name] = np.stack([found[row] for row in range(len(found))])
  return result


def _import_norms(variables: Variables, renamed: Variables) -> dict[str, np.ndarray]:
  """Find out which norm of its block each layer norm of the original is.

  The counters in their names show only the order within a block.
  """
  found: dict[tuple[str, str, str], dict[int, np.ndarray]] = {}
  for name, value in variables.items():
    for stack, template in _THEIR_NORMS.items():
      if (fields := template.match(name)) is not None:
        block = f'model/generator_{fields["l"]}/transformer/{stack}_{fields["n"]}'
        found.setdefault((block, stack, fields['affine']), {})[int(fields['count'][1:] or 0)] = (
          value
        )
  result = {}
  for (block, stack, affine), norms in found.items():
    whole = f'{block}/feed_forward/inner/kernel' in renamed
    places = [place for place in _NORMS[stack] if whole or place != 'feed_forward_norm']
    require(
      len(norms) == len(places),
      f'{block} has {len(norms)} layer norms with a {affine}; expected {", ".join(places)}. The '
      'checkpoint is incomplete.',
    )
    for place, (_, value) in zip(places, sorted(norms.items()), strict=True):
      result[f'{block}/{place}/{affine}'] = value
  return result


def _export_norms(apart: Variables) -> dict[str, np.ndarray]:
  """Give our layer norms the names of the original, whose counter runs over the whole graph.

  It counts generator after generator, in each the encoder before the decoder, block after block. A
  block without a feed-forward part has no norm for it, but the original counts one.
  """
  stacks = list(_NORMS)
  norms = {name: match for name in apart if (match := _OUR_NORM.fullmatch(name)) is not None}
  blocks = sorted({(int(m[1]), stacks.index(m[2]), int(m[3])) for m in norms.values()})
  places = [(*block, place) for block in blocks for place in _NORMS[stacks[block[1]]]]
  counters = {place: count for count, place in enumerate(places)}
  return {
    _THEIR_NORMS[m[2]].fill(
      {
        'l': m[1],
        'n': m[3],
        'affine': m[5],
        'scope': _suffix(int(m[1]) - 1),
        'count': _suffix(counters[int(m[1]), stacks.index(m[2]), int(m[3]), m[4]]),
      }
    ): apart[name]
    for name, m in norms.items()
  }


def _moving_averages(variables: Variables, separate_query: bool) -> dict[str, np.ndarray]:
  """Make the moving averages [channels] of each batch norm of the CNN: zeros and ones."""
  layers = [
    int(name.split('/')[1].rpartition('_')[2]) for name in variables if _TABLE.fullmatch(name)
  ]
  separate_query |= any(name.startswith('model/cnn_query/') for name in variables)
  averages = {}
  for layer in range(1, max(layers, default=1)):  # the last layer gives the logits: no batch norm
    for which in ('cnn', 'cnn_query') if separate_query else ('cnn',):
      scale = variables.get(f'model/{which}/layer_{layer}/batch_norm/gamma')
      if scale is None:  # it is generated, with one weight block per channel
        table = f'model/generator_{layer}/weight_embeddings'
        scale = _found(variables, table, f'batch norm of CNN layer {layer}')[:, 0]
      for average, fill in (('moving_mean', np.zeros_like), ('moving_variance', np.ones_like)):
        fields = {'l': str(layer), 'pass': which, 'average': average}
        averages[MOVING_AVERAGE.fill(fields)] = fill(scale)
  return averages


def _check_names(variables: Variables, direction: str) -> None:
  """Raise InputError for unknown names, and for variables that are those of the other side."""
  unknown = [name for name in variables if not _is_known(name, direction)]
  if not unknown:
    return
  other = EXPORT if direction == IMPORT else IMPORT
  if all(_is_known(name, other) for name in variables):
    raise InputError(
      f'Wrong direction: {_listed(unknown)} cannot be given to an {direction}. Use '
      f'--direction={other}.'
    )
  raise InputError(f'Cannot {direction} {_listed(unknown)}: these variables have no counterpart.')


def _is_known(name: str, direction: str) -> bool:
  """Return whether a conversion in this direction knows a variable of this name."""
  if is_dropped(name, direction):
    return True
  if direction == IMPORT:
    templates = [*(theirs for _, theirs in PAIRS), *_THEIR_NORMS.values()]
    return any(template.match(name) is not None for template in templates)
  if _GENERATED_HEAD.fullmatch(name):
    return True
  if name.endswith('/vectors'):
    name = name.removesuffix('vectors') + 'self_attention/output/bias'
  elif match := _PROJECTIONS.fullmatch(name):
    name = f'{match[1]}/{match[2].split("_")[0]}/{match[3]}'
  elif _TABLE.fullmatch(name):
    name += '/0'
  return any(ours.match(name) is not None for ours, _ in PAIRS)


def _found(variables: Variables, name: str, for_what: str) -> np.ndarray:
  if name not in variables:
    raise InputError(f'{for_what} requires {name}, which is missing. The checkpoint is incomplete.')
  return variables[name]


def _cut(name: str, value: np.ndarray, widths: Sequence[int]) -> list[np.ndarray]:
  """Cut a variable along its last axis."""
  require(
    value.shape[-1] == sum(widths) and min(widths) > 0,
    f'{name} has shape {value.shape}, but the kernels of its block make it {sum(widths)} wide.',
  )
  return np.split(value, np.cumsum(widths)[:-1], axis=-1)


def _listed(names: Iterable[str], most: int = 5) -> str:
  """List the first names, and how many there are if these are not all."""
  names = list(names)
  more = f', ... ({len(names)} in all)' if len(names) > most else ''
  return ', '.join(names[:most]) + more


def _suffix(counter: int) -> str:
  """Return a counter as in TensorFlow's scope names: 0 -> '', 3 -> '_3'."""
  return f'_{counter}' if counter else ''
