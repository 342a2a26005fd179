"""The whole HyperTransformer in float64 NumPy, as docs/spec/model.md words it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy_layers import Arrays, ByHand

from hypertransformer.settings.model_config import ModelConfig


class HandModel:
  """The HyperTransformer in float64 NumPy (docs/spec/model.md, sections 1, 4 and 5).

  Args:
    settings: The model's settings.
    v: Variables by name, as Lab.fill gives them.
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
    """Generates the weight blocks [B, b] of each CNN layer, by its number.

    Args:
      images: Support images [Ns, H, W, C].
      labels: Integers [Ns].
      ignored: bool [Ns], the samples that no token may look at; None for none.
    """
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
    if self.config.features.normalization == 'support':
      features = normalized(features, ignored)
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
    """Computes the local features of a layer.

    Args:
      x: What enters the layer, [Ns, h, w, c].
      number: Number of the layer.
      sizes: Side of each kernel.
      strides: Stride of each convolution.
      channels: How many channels a convolution has where no flag says so.
      nonlinear: Whether the means are taken after the relu.
    """
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
    """Collects a CNN layer's variables as a pass uses them: generated, trained, or the sum."""
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
    """Takes the variables of a convolution out of its weight blocks."""
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
    """Computes the logits [Nq, K] of query images [Nq, H, W, C]."""
    for number in range(1, self.count + 1):
      x = self.convolution(x, number, blocks, query=True)
    x = x.reshape(len(x), -1) if self.pooling else x.mean((1, 2))
    last = self.count + 1
    generated = {'logits/kernel': blocks[last][:, :-1].T, 'logits/bias': blocks[last][:, -1]}
    v = self.variables(f'layer_{last}', generated, query=True)
    return x @ v['logits/kernel'] + v['logits/bias']


def normalized(features: np.ndarray, ignored: np.ndarray | None) -> np.ndarray:
  """Each column less its mean, over its deviation, of the samples that are not ignored."""
  seen = features if ignored is None else features[~ignored]
  return (features - seen.mean(0)) / np.sqrt(seen.var(0) + 1e-8)
