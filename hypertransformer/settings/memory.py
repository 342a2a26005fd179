"""Refuses settings that no machine has the memory for, before anything is built.

`estimate` counts what a run needs at least: what is cheap to count, and never too much. So a run
that passes may still not fit, but a mistyped size is found at once, and not after minutes of
building.
"""

from __future__ import annotations

import dataclasses
import os

from hypertransformer.errors import InputError
from hypertransformer.settings.config import Settings
from hypertransformer.settings.model_config import LARGEST_FRACTION, ModelConfig, TransformerConfig

_FLOAT_BYTES = 4
# A layer of the transformer, and a head of its attention, have at least so many operations with
# those of their gradients; and an operation of TensorFlow takes at least so many bytes.
_LAYER_OPERATIONS = 30
_HEAD_OPERATIONS = 6
_OPERATION_BYTES = 1000
_MOST_SHOWN = 10**30


@dataclasses.dataclass(frozen=True)
class Need:
  """What a run needs at least.

  Attributes:
    trained_numbers: how many numbers the trained variables have.
    bytes: the memory for each part, in bytes; the key says what it is and which flags set it.
  """

  trained_numbers: int
  bytes: dict[str, int]

  @property
  def total(self) -> int:
    """All bytes together."""
    return sum(self.bytes.values())


def estimate(settings: Settings) -> Need:
  """Counts the memory that training, or the evaluation, of these settings needs at least."""
  model, episodes, run = settings.model, settings.episodes, settings.run
  tasks = settings.continual.train_length if settings.continual else 1
  query = max(episodes.query_samples, settings.evaluation.batch_size)
  images = run.episodes_per_step * tasks * (episodes.support_samples + query)
  pixels = settings.data.image_size**2
  side = max(0, settings.data.image_size - model.kernel_size + 1) // model.stride
  layers = _layers(model) if _generates(settings) else []
  generators = [_generator(model, episodes.support_samples, layer) for layer in layers]
  trained = sum(one.trained_numbers for one in generators)
  copies = 2 + {'sgd': 0, 'momentum': 1, 'adam': 2}[settings.optimizer.name]
  depth = model.transformer.num_layers
  operations = _LAYER_OPERATIONS + _HEAD_OPERATIONS * model.transformer.heads
  return Need(
    trained,
    {
      'the trained variables and their gradients (--embedding_dim, --default_num_channels, '
      '--kernel_size, --shared_features_dim, --lw_key_query_dim, --lw_value_dim, --lw_inner_dim, '
      '--num_layers, --heads)': trained * _FLOAT_BYTES * copies,
      'the images of an episode (--image_size, --samples_transformer, --samples_cnn, '
      '--eval_batch_size, --episodes_per_step, --num_tasks)': images * pixels * _FLOAT_BYTES,
      'the activations of the first CNN layer (--default_num_channels, --image_size, '
      '--samples_transformer, --samples_cnn, --eval_batch_size, --episodes_per_step, '
      '--num_tasks)': (images * side**2 * model.channels * _FLOAT_BYTES),
      'the attention of one transformer layer (--samples_transformer, --num_labels, '
      '--embedding_units, --default_num_channels, --kernel_size, --heads)': _FLOAT_BYTES
      * max((one.attention_numbers for one in generators), default=0),
      'the graph (--num_layers, --heads)': len(generators) * depth * operations * _OPERATION_BYTES,
    },
  )


def require_memory(settings: Settings, available: int | None = None) -> None:
  """Checks that the machine has the memory that the settings need at least.

  Args:
    settings: those of the run.
    available: the memory of the machine in bytes; None to ask the system, which not all can say.

  Raises:
    InputError: it has less.
  """
  memory = machine_memory() if available is None else available
  need = estimate(settings)
  if memory and need.total > memory:
    part = max(need.bytes, key=lambda key: need.bytes[key])
    raise InputError(
      f'these settings need at least {_size(need.total)} of memory for '
      f'{_count(need.trained_numbers)} trained numbers and one episode, and this machine has '
      f'{_size(memory)}. Most of it is for {part}: choose smaller ones.'
    )


def machine_memory() -> int:
  """The memory of this machine in bytes; 0 if the system does not say."""
  try:
    return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
  except (AttributeError, ValueError, OSError):
    return 0


@dataclasses.dataclass(frozen=True)
class _Layer:
  """A layer whose weights are generated: its weight blocks [B, b] and its features F at least."""

  blocks: int
  block_size: int
  features: int


@dataclasses.dataclass(frozen=True)
class _Generator:
  """What the generator of one layer needs: trained numbers, and attention weights at a time."""

  trained_numbers: int
  attention_numbers: int


def _generates(settings: Settings) -> bool:
  """Whether any weights are generated."""
  continual = settings.continual
  return not settings.loss.pretrain_shared and (
    continual is None or continual.method != 'constant_protonet'
  )


def _layers(model: ModelConfig) -> list[_Layer]:
  """The layers of the CNN whose weights are generated, as far as they are counted here."""
  outputs = model.embedding_units or model.num_labels
  shared = model.features.shared_dim if model.features.has_shared else 0
  local = model.features.layerwise or 0
  logits_local = 0 if model.features.logits_extractor == 'passthrough' else local
  layers = [_Layer(outputs, model.channels, shared + logits_local)]
  convolutions = int(model.cnn_name.removeprefix('maxpool-')[0]) - abs(model.trained_layers)
  area = model.kernel_size**2
  for _ in range(1, convolutions):  # one of them sees the image, and may have fewer inputs
    blocks = area if model.allocation == 'spatial' else model.channels
    layers.append(_Layer(blocks, area * model.channels**2 // blocks, shared + local))
  return layers


def _generator(model: ModelConfig, samples: int, layer: _Layer) -> _Generator:
  """Counts one generator; its transformer works on tokens of the width D."""
  sample, weight = (model.embedding_dim + size for size in (layer.features, layer.block_size))
  tables = (model.num_labels + layer.blocks) * model.embedding_dim
  depth, joint = model.transformer.num_layers, model.generator == 'joint'
  widths = [max(sample, weight)] if joint else [sample, weight]
  transformer = depth * sum(_encoder_layer(model.transformer, width) for width in widths)
  tokens = samples + layer.blocks if joint else samples
  return _Generator(tables + transformer, model.transformer.heads * tokens**2 + tokens * sample)


def _encoder_layer(config: TransformerConfig, width: int) -> int:
  """The trained numbers of one encoder layer for tokens of the width D."""
  key_query, value, inner = (
    int(size) if size > LARGEST_FRACTION else int(size * width)
    for size in (config.key_query_dim, config.value_dim, config.inner_dim)
  )
  return width * (2 * key_query + 2 * value + 2 * inner)


def _size(number: int) -> str:
  """Writes a number of bytes in GB."""
  return f'{_count(-(-number // 10**9))} GB'


def _count(number: int) -> str:
  return f'more than 1e{len(str(_MOST_SHOWN)) - 1}' if number > _MOST_SHOWN else f'{number:,}'
