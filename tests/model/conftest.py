"""What tests of the model share: a graph with a session, and the layers in NumPy as spec/model.md
words them.
"""

from __future__ import annotations

import dataclasses
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.original import block_vectors
from hypertransformer.settings.model_config import ModelConfig

Arrays = Mapping[str, np.ndarray]


def quick_session() -> tf.Session:
  """A session that does not spend seconds on optimising a graph that runs once."""
  config = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
  config.graph_options.rewrite_options.disable_meta_optimizer = True
  return tf.Session(config=config)


class Lab:
  """A session on the test's own graph."""

  def __init__(self, session: tf.Session) -> None:
    self.session = session

  def run(self, fetches: Any, feed: Mapping[tf.Tensor, np.ndarray] | None = None) -> Any:
    return self.session.run(fetches, feed)

  def fill(self, **by_suffix: float) -> dict[str, np.ndarray]:
    """Gives every variable random values that depend on its name only; returns them by name.
    gamma=0.0 makes all variables whose name ends with 'gamma' 0 instead. Each vector of a
    transformer block has its own name here.
    """
    shapes = block_vectors.separate(
      {v.op.name: np.zeros(v.shape.as_list()) for v in tf.global_variables()}
    )
    values = {name: _values(name, like.shape, by_suffix) for name, like in shapes.items()}
    self.load(values)
    return values

  def load(self, values: Arrays) -> None:
    """Sets variables by name, named as by `fill`; as initial values, which needs no new ops."""
    values = block_vectors.join(values)
    variables = [v for v in tf.global_variables() if v.op.name in values]
    assert len(variables) == len(values)
    self.run(
      [v.initializer for v in variables],
      {v.initializer.inputs[1]: values[v.op.name] for v in variables},
    )


def _values(name: str, shape: tuple[int, ...], by_suffix: Mapping[str, float]) -> np.ndarray:
  for suffix, value in by_suffix.items():
    if name.endswith(suffix):
      return np.full(shape, value, np.float32)
  values = np.random.default_rng(zlib.crc32(name.encode())).normal(0, 0.5, shape)
  return (values + name.endswith('gamma')).astype(np.float32)


@pytest.fixture(autouse=True)
def graph() -> Iterator[tf.Graph]:
  """Every test has a graph of its own."""
  with tf.Graph().as_default() as own:
    tf.set_random_seed(3)
    yield own


@pytest.fixture
def lab(graph: tf.Graph) -> Iterator[Lab]:
  with quick_session() as session:
    yield Lab(session)


@pytest.fixture
def rng() -> np.random.Generator:
  return np.random.default_rng(7)


class ByHand:
  """The layers in float64 NumPy, with loops where that is plainest; `v`: variables by name, `name`:
  their scope.
  """

  @staticmethod
  def dense(x: np.ndarray, v: Arrays, name: str) -> np.ndarray:
    return x @ v[f'{name}/kernel'].astype(float) + v[f'{name}/bias']

  @staticmethod
  def conv(x: np.ndarray, kernel: np.ndarray, stride: int = 1, same: bool = False) -> np.ndarray:
    size = kernel.shape[0]
    if same:
      x = np.pad(x, [(0, 0), *(_same_padding(side, size, stride) for side in x.shape[1:3]), (0, 0)])
    height, width = ((side - size) // stride + 1 for side in x.shape[1:3])
    y = np.zeros((len(x), height, width, kernel.shape[3]))
    for row in range(height):
      for column in range(width):
        patch = x[:, row * stride : row * stride + size, column * stride : column * stride + size]
        y[:, row, column] = np.tensordot(patch, kernel.astype(float), axes=3)
    return y

  @staticmethod
  def max_pool(x: np.ndarray) -> np.ndarray:
    height, width = (side // 2 for side in x.shape[1:3])
    return np.stack(
      [
        np.stack([x[:, 2 * r : 2 * r + 2, 2 * c : 2 * c + 2].max((1, 2)) for c in range(width)], 1)
        for r in range(height)
      ],
      1,
    )

  @staticmethod
  def norm(
    x: np.ndarray, axes: tuple[int, ...], gamma: np.ndarray, beta: np.ndarray, epsilon: float
  ) -> np.ndarray:
    mean = x.mean(axes, keepdims=True)
    variance = ((x - mean) ** 2).mean(axes, keepdims=True)
    return (x - mean) / np.sqrt(variance + epsilon) * gamma + beta

  @classmethod
  def layer_norm(cls, x: np.ndarray, v: Arrays, name: str) -> np.ndarray:
    return cls.norm(x, (-1,), v[f'{name}/gamma'], v[f'{name}/beta'], 1e-6)

  @classmethod
  def batch_norm(cls, x: np.ndarray, v: Arrays, name: str) -> np.ndarray:
    return cls.norm(x, (0, 1, 2), v[f'{name}/gamma'], v[f'{name}/beta'], 1e-3)

  @classmethod
  def attention(
    cls,
    queries: np.ndarray,
    keys: np.ndarray,
    v: Arrays,
    name: str,
    heads: int,
    sigmoid: bool = False,
    ignored: np.ndarray | None = None,
  ) -> np.ndarray:
    """One head and one query token after the other; keys of `ignored` (bool) are left out
    altogether.
    """
    seen = np.ones(len(keys), bool) if ignored is None else ~ignored
    values = v[f'{name}/output/kernel'].shape[0]
    if f'{name}/query_key_value/kernel' in v:
      joint = cls.dense(keys, v, f'{name}/query_key_value')
      width = (joint.shape[1] - values) // 2
      q, k, value = joint[:, :width], joint[seen, width:-values], joint[seen, -values:]
    else:
      q, joint = (
        cls.dense(queries, v, f'{name}/query'),
        cls.dense(keys[seen], v, f'{name}/key_value'),
      )
      k, value = joint[:, :-values], joint[:, -values:]
    mixed = []
    for qh, kh, vh in zip(*(np.split(x, heads, axis=1) for x in (q, k, value)), strict=True):
      rows = []
      for token in qh:
        logits = np.array([token @ key for key in kh]) / math.sqrt(len(token))
        weights = 1 / (1 + np.exp(-logits)) if sigmoid else np.exp(logits) / np.exp(logits).sum()
        rows.append(sum(weight * one for weight, one in zip(weights, vh, strict=True)))
      mixed.append(np.stack(rows))
    return cls.dense(np.concatenate(mixed, axis=1), v, f'{name}/output')

  @staticmethod
  def activation(name: str | None, x: np.ndarray) -> np.ndarray:
    if name is None:
      return x
    if name == 'gelu':
      return x * np.vectorize(lambda t: 0.5 * (1 + math.erf(t / math.sqrt(2))))(x)
    return np.where(x > 0, x, {'relu': 0.0, 'lrelu': 0.1}[name] * x)

  @classmethod
  def feed_forward_part(
    cls, x: np.ndarray, v: Arrays, block: str, nonlinearity: str | None
  ) -> np.ndarray:
    """Nothing where the block has no such variables."""
    if f'{block}/feed_forward/inner/kernel' not in v:
      return x
    inner = cls.activation(nonlinearity, cls.dense(x, v, f'{block}/feed_forward/inner'))
    return cls.layer_norm(
      x + cls.dense(inner, v, f'{block}/feed_forward/outer'), v, f'{block}/feed_forward_norm'
    )

  @classmethod
  def encoder_block(
    cls,
    x: np.ndarray,
    v: Arrays,
    block: str,
    heads: int,
    nonlinearity: str | None = 'relu',
    sigmoid: bool = False,
    ignored: np.ndarray | None = None,
  ) -> np.ndarray:
    attended = cls.attention(x, x, v, f'{block}/self_attention', heads, sigmoid, ignored)
    x = cls.layer_norm(x + attended, v, f'{block}/self_attention_norm')
    return cls.feed_forward_part(x, v, block, nonlinearity)

  @classmethod
  def decoder_block(
    cls,
    x: np.ndarray,
    encoded: np.ndarray,
    v: Arrays,
    block: str,
    heads: int,
    ignored: np.ndarray | None = None,
    ignored_encoded: np.ndarray | None = None,
    sigmoid: bool = False,
  ) -> np.ndarray:
    attended = cls.attention(x, x, v, f'{block}/self_attention', heads, sigmoid, ignored)
    x = cls.layer_norm(x + attended, v, f'{block}/self_attention_norm')
    attended = cls.attention(
      x, encoded, v, f'{block}/cross_attention', heads, sigmoid, ignored_encoded
    )
    x = cls.layer_norm(x + attended, v, f'{block}/cross_attention_norm')
    return cls.feed_forward_part(x, v, block, 'relu')

  @classmethod
  def blocks(
    cls,
    features: np.ndarray,
    labels: np.ndarray,
    v: Arrays,
    scope: str,
    config: ModelConfig,
    size: int,
    ignored: np.ndarray | None = None,
  ) -> np.ndarray:
    """The weight blocks [B, size] that generator `scope` makes."""
    weights, table = v[f'{scope}/weight_embeddings'], v[f'{scope}/label_embeddings']
    samples = np.concatenate([table[labels], features], axis=1)
    own = config.embedding_dim + size
    whole = dataclasses.replace(
      config, transformer=dataclasses.replace(config.transformer, skip_last_nonlinearity=False)
    )
    if config.generator == 'separate':
      decoded = cls.decoder(
        _padded(weights, own), cls.encoder(samples, v, scope, whole), v, scope, config
      )
      return decoded[:, config.embedding_dim :]
    width = max(own, samples.shape[1])
    sequence = np.concatenate([_padded(weights, width), _padded(samples, width)])
    if ignored is not None:
      ignored = np.concatenate([np.zeros(len(weights), bool), ignored])
    output = cls.encoder(
      sequence, v, scope, whole if config.transformer.use_decoder else config, ignored
    )
    if config.transformer.use_decoder:
      output = cls.decoder(sequence, output, v, scope, config, ignored)
    return output[: len(weights), config.embedding_dim : own]

  @classmethod
  def encoder(
    cls,
    x: np.ndarray,
    v: Arrays,
    scope: str,
    config: ModelConfig,
    ignored: np.ndarray | None = None,
  ) -> np.ndarray:
    last, of = config.transformer.num_layers, config.transformer
    for number in range(1, last + 1):
      nonlinearity = None if number == last and of.skip_last_nonlinearity else of.nonlinearity
      x = cls.encoder_block(
        x,
        v,
        f'{scope}/transformer/encoder_{number}',
        of.heads,
        nonlinearity,
        of.activation == 'sigmoid',
        ignored,
      )
    return x

  @classmethod
  def decoder(
    cls,
    x: np.ndarray,
    encoded: np.ndarray,
    v: Arrays,
    scope: str,
    config: ModelConfig,
    ignored: np.ndarray | None = None,
  ) -> np.ndarray:
    for number in range(1, config.transformer.num_layers + 1):
      x = cls.decoder_block(
        x,
        encoded,
        v,
        f'{scope}/transformer/decoder_{number}',
        config.transformer.heads,
        ignored,
        ignored,
        config.transformer.activation == 'sigmoid',
      )
    return x


def _padded(x: np.ndarray, width: int) -> np.ndarray:
  return np.pad(x, [(0, 0), (0, width - x.shape[1])])


def _same_padding(side: int, size: int, stride: int) -> tuple[int, int]:
  total = max((math.ceil(side / stride) - 1) * stride + size - side, 0)
  return total // 2, total - total // 2


@pytest.fixture(scope='session')
def by_hand() -> type[ByHand]:
  return ByHand


class HandModel:
  """The whole HyperTransformer in float64 NumPy: spec/model.md sections 1, 4 and 5. v: variables,
  as of Lab.fill.
  """

  def __init__(self, settings: ModelConfig, v: Arrays) -> None:
    self.config = settings
    self.v = {name.removeprefix('model/'): value for name, value in v.items()}
    self.pooling = settings.cnn_name == 'maxpool-4-layer'
    self.count = 4 if '4' in settings.cnn_name else 3
    convolutions = range(1, self.count + 1)
    first = settings.trained_layers
    self.trained = convolutions[:first] if first >= 0 else convolutions[first:]

  def generate(
    self, images: np.ndarray, labels: np.ndarray, ignored: np.ndarray | None
  ) -> dict[int, np.ndarray]:
    """{CNN layer: weight blocks [B, b]}; ignored: bool [Ns], samples that no token may look at."""
    blocks: dict[int, np.ndarray] = {}
    z, size, channels = images, self.config.kernel_size, self.config.channels
    shared = self.shared(images)
    for number in range(1, self.count + 1):
      inputs = z.shape[3]
      if number not in self.trained:
        width = (
          inputs * channels
          if self.config.allocation == 'spatial'
          else (size * size * inputs + self.config.generate_bias + 2 * self.config.generate_bn)
        )
        local = self.local(z, number, [size, size], [2, 1], max(inputs, channels), nonlinear=False)
        blocks[number] = self.blocks(number, [local, shared], labels, width, ignored)
      z = self.convolution(z, number, blocks, query=False)
    last = self.count + 1
    local = self.local(z, last, [3], [1], channels, self.config.features.nonlinear)
    extractor = self.config.features.logits_extractor
    parts = [
      None if extractor == 'default' else z.reshape(len(z), -1),
      None if extractor == 'passthrough' else local,
    ]
    width = (z[0].size if self.pooling else channels) + 1
    return {**blocks, last: self.blocks(last, [*parts, shared], labels, width, ignored)}

  def blocks(
    self,
    number: int,
    parts: Sequence[np.ndarray | None],
    labels: np.ndarray,
    width: int,
    ignored: np.ndarray | None,
  ) -> np.ndarray:
    features = np.concatenate([part for part in parts if part is not None], axis=1)
    return ByHand.blocks(
      features, labels, self.v, f'generator_{number}', self.config, width, ignored
    )

  def shared(self, x: np.ndarray) -> np.ndarray | None:
    config = self.config.features
    if not config.has_shared:
      return None
    depth = int(config.shared_extractor[0])
    for number in range(1, depth + 1):
      name = f'shared_features/layer_{number}'
      x = ByHand.conv(
        x, self.v[f'{name}/kernel'], 2 if number < depth else 1, config.shared_padding == 'same'
      )
      x = np.maximum(x + self.v[f'{name}/bias'], 0)
    return x.mean((1, 2))

  def local(
    self,
    x: np.ndarray,
    number: int,
    sizes: Sequence[int],
    strides: Sequence[int],
    channels: int,
    nonlinear: bool,
  ) -> np.ndarray | None:
    """channels: how many features a convolution has where no flag says."""
    means = []
    small = x.shape[1] < sizes[0]
    for i, (size, stride) in enumerate(zip(sizes, strides, strict=True), start=1):
      kernel = self.v.get(f'generator_{number}/features/layer_{i}/kernel')
      if kernel is None:
        continue
      assert kernel.shape[0] == (x.shape[1] if small and i == 1 else min(size, kernel.shape[0]))
      wanted = self.config.features.layerwise
      assert kernel.shape[3] == (channels if wanted is None else wanted)
      x = (
        ByHand.conv(x, kernel, 1 if small else stride)
        + self.v[f'generator_{number}/features/layer_{i}/bias']
      )
      means.append((np.maximum(x, 0) if nonlinear else x).mean((1, 2)))
      x = np.maximum(x, 0)
    return np.concatenate(means, axis=1) if means else None

  def variables(self, layer: str, generated: Arrays, query: bool) -> Arrays:
    """The variables of a CNN layer as a pass uses them: generated, trained, or the sum."""
    scope = (
      'cnn_query' if query and self.config.separate_query_variables else 'cnn'
    ) + f'/{layer}/'
    trained = {
      name.removeprefix(scope): value for name, value in self.v.items() if name.startswith(scope)
    }
    if self.config.add_trainable_weights:
      generated = {name: value + trained[name] for name, value in generated.items()}
    return {**trained, **generated}

  def convolution(
    self, x: np.ndarray, number: int, blocks: Mapping[int, np.ndarray], query: bool
  ) -> np.ndarray:
    size, inputs = self.config.kernel_size, x.shape[3]
    generated = {} if number in self.trained else self.unpacked(blocks[number], inputs)
    v = self.variables(f'layer_{number}', generated, query)
    x = ByHand.conv(x, v['conv/kernel'], self.config.stride, self.pooling)
    assert v['conv/kernel'].shape[:2] == (size, size)
    if self.config.generate_bias:
      x = x + v['conv/bias']
    x = np.where(x > 0, x, {'relu': 0.0, 'lrelu': 0.01}[self.config.cnn_activation] * x)
    if self.pooling:
      x = ByHand.max_pool(x)
    return ByHand.batch_norm(
      x, {f'n/{name}': v[f'batch_norm/{name}'] for name in ('gamma', 'beta')}, 'n'
    )

  def unpacked(self, blocks: np.ndarray, inputs: int) -> Arrays:
    """The variables of a convolution from its blocks."""
    size = self.config.kernel_size
    if self.config.allocation == 'spatial':
      return {
        'conv/kernel': np.stack([block.reshape(inputs, -1) for block in blocks]).reshape(
          size, size, inputs, -1
        )
      }
    length = size * size * inputs
    found = {
      'conv/kernel': np.stack(
        [block[:length].reshape(size, size, inputs) for block in blocks], axis=-1
      )
    }
    if self.config.generate_bias:
      found['conv/bias'] = blocks[:, length]
    if self.config.generate_bn:
      found |= {'batch_norm/gamma': blocks[:, -2], 'batch_norm/beta': blocks[:, -1]}
    return found

  def classify(self, x: np.ndarray, blocks: Mapping[int, np.ndarray]) -> np.ndarray:
    """query images [Nq, H, W, C] -> logits [Nq, K]."""
    for number in range(1, self.count + 1):
      x = self.convolution(x, number, blocks, query=True)
    x = x.reshape(len(x), -1) if self.pooling else x.mean((1, 2))
    last = self.count + 1
    generated = {'logits/kernel': blocks[last][:, :-1].T, 'logits/bias': blocks[last][:, -1]}
    v = self.variables(f'layer_{last}', generated, query=True)
    return x @ v['logits/kernel'] + v['logits/bias']


@pytest.fixture(scope='session')
def hand_model() -> type[HandModel]:
  return HandModel
