"""Converts variables between the original's names and shapes and ours.

docs/spec/model.md, section 7, is the specification. Variables are NumPy arrays by name. They are
all that is needed: no model is built. They differ in five ways:

- Most have only another name (RENAMED).
- Queries, keys and values of an attention are separate variables in the original, and side by side
  in one variable here (JOINED; projections.py).
- Every row of an embedding table is a variable in the original. A table is one variable here
  (TABLES).
- The original numbers its layer norms over the whole graph, in the order in which they are built.
  Our names say which norm of a block it is (LAYER_NORMS).
- Biases, scales and offsets of a transformer block are separate variables in the original, and
  parts of one variable here (joins.py). An export splits them first, and an import joins
  them last; in between each has a name of its own. Older checkpoints of ours have variables of
  these names, so that they can be exported too.

The original has moving averages for its batch norms but neither updates nor reads them; we have
none. How it names the batch norms of '-bn' feature extractors is not known, so these are refused.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from hypertransformer import errors
from hypertransformer.checkpoint_conversion import joins
from hypertransformer.checkpoint_conversion.joins import WORDS, Joined, Template, pair_of

Variables = Mapping[str, np.ndarray]  # the value of each variable by its name
IMPORT, EXPORT = 'import', 'export'  # from the original to us, and from us to the original

# In the pairs below our name comes first. {l} is a CNN layer, {n} a transformer block, {i} a
# convolution or a warm-up head, {row} a label or a weight block. The values of all other fields
# ({part}, {pass}, ...) are in py.
_OURS = 'model/generator_{l}/'
_THEIRS = 'model/cnn_builder/builder_layer_{l}_generator/'
_SETUP = 'model/cnn_builder/layer_{l}_generator_setup/'
_STACK = _THEIRS + 'transformer/transformer/'
# The scopes of the original's layer norms have two more counters: one of the builder's scope
# ({builder} is l - 1), and one of 'layer_{n}', which the decoder opens a second time.
_NORM = 'model/cnn_builder{builder}/builder_layer_{l}_generator/transformer/'

FEED_FORWARD = {
  'encoder': pair_of(
    _OURS + 'transformer/encoder_{n}/feed_forward/{dense}/{part}',
    _STACK + 'encoder/layer_{n}/fc/{dense}/{part}',
  ),
  'decoder': pair_of(
    _OURS + 'transformer/decoder_{n}/feed_forward/{dense}/{part}',
    _STACK + 'decoder/layer_{n}/fc/{dense}/{part}',
  ),
}
RENAMED = (
  *FEED_FORWARD.values(),
  pair_of('global_step'),
  pair_of('model/shared_features/layer_{i}/{part}'),
  pair_of('loss/shared_head/{part}', 'loss/shared_head/fc/{part}'),
  pair_of(_OURS + 'features/layer_{i}/{part}', _THEIRS + 'feature_extractor/layer_{i}/{part}'),
  pair_of(
    _OURS + 'transformer/encoder_{n}/self_attention/output/{part}',
    _STACK + 'encoder/layer_{n}/attention/fc/{part}',
  ),
  pair_of(
    _OURS + 'transformer/decoder_{n}/{attention}/output/{part}',
    _STACK + 'decoder/layer_{n}/{attention}/fc/{part}',
  ),
  pair_of(
    _OURS + 'transformer/decoder_{n}/cross_attention/query/{part}',
    _STACK + 'decoder/layer_{n}/attention_2/q/{part}',
  ),
  pair_of('model/{pass}/layer_{l}/conv/{part}', 'model/cnn/layer_{l}/conv/{part}{pass}'),
  pair_of(
    'model/{pass}/layer_{l}/batch_norm/{affine}',
    'model/cnn/layer_{l}/batch_normalization/{affine}{pass}',
  ),
  pair_of('model/{pass}/layer_{l}/logits/{part}', 'model/cnn/layer_{l}/fc/{part}{pass}'),
  pair_of('model/{pass}/head_{i}/logits/{part}', 'model/cnn/head_layer_{i}/fc/{part}{pass}'),
)
JOINED = (
  Joined(
    pair_of(
      _OURS + 'transformer/encoder_{n}/self_attention/query_key_value/{part}',
      _STACK + 'encoder/layer_{n}/attention/{projection}/{part}',
    ),
    'projection',
    ('query', 'key', 'value'),
  ),
  Joined(
    pair_of(
      _OURS + 'transformer/decoder_{n}/self_attention/query_key_value/{part}',
      _STACK + 'decoder/layer_{n}/attention_1/{projection}/{part}',
    ),
    'projection',
    ('query', 'key', 'value'),
  ),
  Joined(
    pair_of(
      _OURS + 'transformer/decoder_{n}/cross_attention/key_value/{part}',
      _STACK + 'decoder/layer_{n}/attention_2/{key_or_value}/{part}',
    ),
    'key_or_value',
    ('key', 'value'),
  ),
)
TABLES = (
  pair_of(_OURS + 'label_embeddings', _SETUP + 'label_embeddings/label_{row}'),
  pair_of(_OURS + 'weight_embeddings', _SETUP + 'weight_embeddings/weight_{row}'),
)
# In the order in which the original builds them: encoder blocks before decoder blocks.
LAYER_NORMS = (
  (
    'encoder',
    pair_of(
      _OURS + 'transformer/encoder_{n}/{encoder_norm}/{affine}',
      _NORM + 'layer_{n}/layer_{n}/layer_normalization{count}/{affine}',
    ),
  ),
  (
    'decoder',
    pair_of(
      _OURS + 'transformer/decoder_{n}/{decoder_norm}/{affine}',
      _NORM + 'layer_{n}_1/layer_{n}/layer_normalization{count}/{affine}',
    ),
  ),
)
MOVING_AVERAGE = Template(
  'model/cnn/layer_{l}/batch_normalization/{average}{pass}', of_original=True
)

# Variables without a counterpart on the other side: direction -> kind -> whether a name is of it.
DROPPED: dict[str, dict[str, Callable[[str], object]]] = {
  IMPORT: {
    'augmentation variable': re.compile(r'augmentations?/.+').fullmatch,
    'batch-norm moving average': MOVING_AVERAGE.match,
  },
  EXPORT: {
    'optimizer variable': re.compile(r'(.+/)?beta[12]_power|.+/(Momentum|Adam|Adam_1)').fullmatch
  },
}
_GENERATED_HEAD = re.compile(r'model/head_generator_\d+/.+')


def import_variables(variables: Variables) -> dict[str, np.ndarray]:
  """Makes our variables of the original's. The order of the mapping does not matter.

  Raises:
    InputError: a name is not known; the variables are ours already; or rows of a table, layer
      norms, projections or vectors of a block are missing. The message names the variables.
  """
  return joins.join_vectors(import_apart(variables))


def import_apart(variables: Variables) -> dict[str, np.ndarray]:
  """Does the same as `import_variables`, but leaves the vectors of transformer blocks apart.

  Each vector then has a name of its own, as in older checkpoints of ours.
  """
  _check_names(variables, IMPORT)
  kept = {name: value for name, value in variables.items() if not dropped_kind(name, IMPORT)}
  result = {**_import_renamed(kept), **_import_tables(kept), **_import_layer_norms(kept)}
  for joined in JOINED:
    result |= joins.join_projections(kept, joined)
  return result


def export_variables(variables: Variables, separate_query: bool = False) -> dict[str, np.ndarray]:
  """Makes the original's variables of ours. Moving averages are added, as zeros and ones.

  Args:
    variables: ours.
    separate_query: whether the model was made with --separate_evaluation_bn_vars, so that its query
      pass has moving averages of its own. This needs to be said only if all of its batch norms are
      generated; otherwise the variables show it.

  Raises:
    InputError: a name is not known; the variables are the original's already; there are generated
      warm-up heads, which the original does not have; or layer norms, projections or kernels of a
      block are missing.
  """
  _check_names(variables, EXPORT)
  _check_heads(variables)
  variables = joins.separate_vectors(variables)
  kept = {name: value for name, value in variables.items() if not dropped_kind(name, EXPORT)}
  result = {
    **_export_renamed(kept),
    **_export_tables(kept),
    **_export_layer_norms(kept),
    **_moving_averages(kept, separate_query),
  }
  for joined in JOINED:
    result |= joins.split_projections(kept, joined)
  return result


def dropped_kind(name: str, direction: str) -> str | None:
  """Says of which kind a variable without counterpart is (a key of DROPPED); None if it has one."""
  return next((kind for kind, match in DROPPED[direction].items() if match(name)), None)


def _import_renamed(variables: Variables) -> dict[str, np.ndarray]:
  return {
    pair.ours.fill(fields): value
    for name, value in variables.items()
    for pair in RENAMED
    if (fields := pair.original.match(name)) is not None
  }


def _export_renamed(variables: Variables) -> dict[str, np.ndarray]:
  return {
    pair.original.fill(fields): value
    for name, value in variables.items()
    for pair in RENAMED
    if (fields := pair.ours.match(name)) is not None
  }


def _import_tables(variables: Variables) -> dict[str, np.ndarray]:
  """Stacks the original's embedding vectors to our tables [rows, E]."""
  tables: dict[str, dict[int, np.ndarray]] = {}
  for name, value in variables.items():
    for pair in TABLES:
      if (fields := pair.original.match(name)) is not None:
        tables.setdefault(pair.ours.fill(fields), {})[int(fields['row'])] = value
  for name, rows in tables.items():
    if sorted(rows) != list(range(len(rows))) or len({row.shape for row in rows.values()}) > 1:
      raise errors.InputError(
        f"{name}: its {len(rows)} vectors in the original's checkpoint are numbered "
        f'{min(rows)} to {max(rows)} with shapes {sorted({row.shape for row in rows.values()})}; '
        f'expected 0 to {len(rows) - 1} and one shape. The checkpoint is incomplete.'
      )
  return {name: np.stack([rows[k] for k in range(len(rows))]) for name, rows in tables.items()}


def _export_tables(variables: Variables) -> dict[str, np.ndarray]:
  """Cuts our embedding tables [rows, E] into the original's vectors [E]."""
  rows = {}
  for name, table in variables.items():
    for pair in TABLES:
      if (fields := pair.ours.match(name)) is not None:
        if table.ndim != 2:
          raise errors.InputError(f'{name}: shape {table.shape}, expected [rows, embedding_dim].')
        rows.update(
          {pair.original.fill({**fields, 'row': str(k)}): table[k] for k in range(len(table))}
        )
  return rows


def _import_layer_norms(variables: Variables) -> dict[str, np.ndarray]:
  """Finds out which norm of its block each layer norm of the original is.

  The counters in their names tell only the order within a block; their values mean nothing else.
  """
  result = {}
  whole = _with_feed_forward(variables, IMPORT)
  for stack, pair in LAYER_NORMS:
    blocks: dict[tuple[str, str, str], dict[int, np.ndarray]] = {}
    for name, value in variables.items():
      if (found := pair.original.match(name)) is not None:
        block = (found['l'], found['n'], found['affine'])
        blocks.setdefault(block, {})[_number(found['count'])] = value
    for (layer, number, affine), norms in blocks.items():
      places = _places(stack, (layer, number) in whole[stack])
      _check_norms(len(norms), places, stack, layer, number, affine)
      for place, (_, value) in zip(places, sorted(norms.items()), strict=True):
        fields = {'l': layer, 'n': number, f'{stack}_norm': place, 'affine': affine}
        result[pair.ours.fill(fields)] = value
  return result


def _export_layer_norms(variables: Variables) -> dict[str, np.ndarray]:
  """Gives our layer norms the names of the original, whose counter runs over the whole graph.

  It counts generator after generator, in each the encoder before the decoder, block after block,
  and in a block the norms in their order.
  """
  found = []
  for order, (stack, pair) in enumerate(LAYER_NORMS):
    for name, value in variables.items():
      if (fields := pair.ours.match(name)) is not None:
        place = _places(stack, True).index(fields[f'{stack}_norm'])
        norm = (int(fields['l']), order, int(fields['n']), place)
        found.append((norm, fields, value, pair))
  _check_blocks(
    collections.Counter((*norm[:3], fields['affine']) for norm, fields, _, _ in found),
    _with_feed_forward(variables, EXPORT),
  )
  # A block without a feed-forward part has no norm behind it, but the original counts one.
  blocks = sorted({norm[:3] for norm, *_ in found})
  counters = {
    norm: count
    for count, norm in enumerate(
      (*block, place)
      for block in blocks
      for place in range(len(_places(LAYER_NORMS[block[1]][0], True)))
    )
  }
  return {
    pair.original.fill(
      {**fields, 'builder': _suffix(norm[0] - 1), 'count': _suffix(counters[norm])}
    ): value
    for norm, fields, value, pair in found
  }


def _places(stack: str, feed_forward: bool) -> list[str]:
  """Returns the norms of a block in their order; the last one belongs to a feed-forward part."""
  return [place for place in WORDS[f'{stack}_norm'] if feed_forward or place != 'feed_forward_norm']


def _with_feed_forward(variables: Variables, direction: str) -> dict[str, set[tuple[str, str]]]:
  """Finds the blocks that have a feed-forward part.

  Returns:
    For 'encoder' and 'decoder', the (generator, block) pairs, as they stand in the names.
  """
  found: dict[str, set[tuple[str, str]]] = {}
  for stack, pair in FEED_FORWARD.items():
    side = pair.original if direction == IMPORT else pair.ours
    found[stack] = {
      (fields['l'], fields['n']) for name in variables if (fields := side.match(name)) is not None
    }
  return found


def _check_blocks(
  norms: collections.Counter[tuple[int, int, int, str]], whole: dict[str, set[tuple[str, str]]]
) -> None:
  """Checks that no norm is missing, which would shift the counters of all that follow.

  Args:
    norms: how often there is a (generator, index in LAYER_NORMS, block, 'gamma' or 'beta').
    whole: the blocks with a feed-forward part, from `_with_feed_forward`.
  """
  for layer, order, number in sorted({block[:3] for block in norms}):
    stack, block = LAYER_NORMS[order][0], (str(layer), str(number))
    for affine in WORDS['affine']:
      found = norms[layer, order, number, affine]
      _check_norms(found, _places(stack, block in whole[stack]), stack, *block, affine)


def _check_norms(
  found: int, places: list[str], stack: str, layer: str, number: str, affine: str
) -> None:
  if found != len(places):
    raise errors.InputError(
      f'generator {layer}, {stack} block {number}: {found} layer norms with a {affine}, expected '
      f'{len(places)} ({", ".join(places)}). The checkpoint is incomplete.'
    )


def _moving_averages(variables: Variables, separate_query: bool) -> dict[str, np.ndarray]:
  """Makes up the moving averages [channels] of each batch norm of the CNN: zeros and ones."""
  weights = TABLES[1].ours
  layers = [int(fields['l']) for name in variables if (fields := weights.match(name)) is not None]
  separate_query |= any(name.startswith('model/cnn_query/') for name in variables)
  passes = ['cnn', *(['cnn_query'] if separate_query else [])]
  averages = {}
  for layer in range(1, max(layers, default=1)):  # the last layer gives the logits: no batch norm
    for which in passes:
      scale = variables.get(f'model/{which}/layer_{layer}/batch_norm/gamma')
      if scale is None:  # the batch norm is generated
        scale = _generated_scale(variables, layer)
      fields = {'l': str(layer), 'pass': which}
      averages[MOVING_AVERAGE.fill({**fields, 'average': 'moving_mean'})] = np.zeros_like(scale)
      averages[MOVING_AVERAGE.fill({**fields, 'average': 'moving_variance'})] = np.ones_like(scale)
  return averages


def _generated_scale(variables: Variables, layer: int) -> np.ndarray:
  """Returns an array [channels] for a layer that has one weight block per output channel."""
  name = f'model/generator_{layer}/weight_embeddings'
  if name not in variables:
    raise errors.InputError(
      f'CNN layer {layer} has neither model/cnn/layer_{layer}/batch_norm/gamma nor {name}: '
      'its number of channels cannot be told. The checkpoint is incomplete.'
    )
  return variables[name][:, 0]


def _check_names(variables: Variables, direction: str) -> None:
  """Checks that all names are known on the side from which variables come.

  If they are those of the other side, the error says that the direction is wrong.
  """
  other = EXPORT if direction == IMPORT else IMPORT
  unknown = [name for name in variables if not _is_known(name, direction)]
  if not unknown:
    return
  owner = {IMPORT: 'the original', EXPORT: 'this project'}
  mine = [name for name in variables if name not in unknown and not _is_known(name, other)]
  if not mine and any(_is_known(name, other) for name in unknown):
    raise errors.InputError(
      f'wrong direction: {direction} expects variables of {owner[direction]}, but these are of '
      f'{owner[other]} ({_listed(unknown)}). Use --direction={other}.'
    )
  raise errors.InputError(
    f'cannot {direction} {_listed(unknown)}: no variables of {owner[other]} correspond to them.'
  )


def _is_known(name: str, direction: str) -> bool:
  """Whether a variable of this name can be given to a conversion in this direction."""
  if dropped_kind(name, direction):
    return True
  if direction == EXPORT and (_GENERATED_HEAD.fullmatch(name) or joins.is_together(name)):
    return True
  pairs = (
    *RENAMED,
    *TABLES,
    *(joined.pair for joined in JOINED),
    *(pair for _, pair in LAYER_NORMS),
  )
  sides = (pair.original if direction == IMPORT else pair.ours for pair in pairs)
  return any(side.match(name) is not None for side in sides)


def _check_heads(variables: Variables) -> None:
  """Checks that there are no generated warm-up heads, which the original does not have."""
  heads = [name for name in variables if _GENERATED_HEAD.fullmatch(name)]
  if heads:
    raise errors.InputError(
      f'the original has no generated warm-up heads, so {_listed(heads)} cannot be exported. '
      'Train with --warmup_heads=trained to get a checkpoint that it can read.'
    )


def _listed(names: Iterable[str], most: int = 5) -> str:
  """Lists the first names, and says how many there are if these are not all."""
  names = sorted(names)
  more = f', ... ({len(names)} in all)' if len(names) > most else ''
  return ', '.join(names[:most]) + more


def _suffix(counter: int) -> str:
  """Writes a counter as TensorFlow does in scope names: 0 -> '', 3 -> '_3'."""
  return f'_{counter}' if counter else ''


def _number(suffix: str) -> int:
  """Reads what `_suffix` writes."""
  return int(suffix[1:] or 0)
