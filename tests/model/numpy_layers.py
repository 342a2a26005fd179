"""The layers of the model in float64 NumPy, as docs/spec/model.md words them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from hypertransformer.settings.model_config import ModelConfig

# Variables by name.
Arrays = Mapping[str, np.ndarray]


class ByHand:
  """The layers in float64 NumPy, with loops where these are plainest.

  `v` holds the variables by name, `name` (or `block`, `scope`) is the scope of a layer's variables.
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
    """Computes an attention, one head and one query token after the other.

    Args:
      queries: The tokens that look.
      keys: The tokens that they look at.
      v: Variables by name.
      name: Scope of the variables.
      heads: How many heads there are.
      sigmoid: Whether a sigmoid takes the place of the softmax.
      ignored: bool, the keys to leave out altogether; None for none.
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
    """Returns x as it is if the block has no feed-forward variables."""
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
    """Computes the weight blocks [B, size] that the generator of this scope makes."""
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
