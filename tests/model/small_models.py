"""Small HyperTransformers for single tasks, with random images, that build in seconds."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.model.hypertransformer import (
  Classified,
  CnnWeights,
  HyperTransformer,
  Support,
)
from hypertransformer.settings.model_config import FeatureConfig, ModelConfig, TransformerConfig

SIDE, K = 12, 3
LABELS = np.array([0, 1, 2, 3, 1, 0])  # of the support images; the fourth has no label
TINY = {'num_labels': K, 'kernel_size': 2, 'channels': 2, 'embedding_dim': 4}


def config(
  features: FeatureConfig | None = None, use_decoder: bool = False, **changes
) -> ModelConfig:
  """The settings of a small model, with changes."""
  return ModelConfig(
    **{
      **TINY,
      'features': features or FeatureConfig(),
      'transformer': TransformerConfig(num_layers=1, heads=1, use_decoder=use_decoder),
      **changes,
    }
  )


@dataclasses.dataclass
class Built:
  """A model, the CNN that it generates from a support set, and the logits of four queries."""

  model: HyperTransformer
  support: Support
  query: tf.Tensor

  @functools.cached_property
  def weights(self) -> CnnWeights:
    return self.model.generate(self.support)

  @functools.cached_property
  def classified(self) -> Classified:
    return self.model.classify(self.query, self.weights)


def built(
  rng: np.random.Generator, settings: ModelConfig, side: int = SIDE, mask: np.ndarray | None = None
) -> Built:
  """A model of these settings with random images: 6 support and 4 query images."""
  support, query = (rng.uniform(-1, 1, (count, side, side, 1)) for count in (6, 4))
  return Built(
    HyperTransformer(settings, (side, side, 1)),
    Support(
      tf.constant(support, tf.float32),
      tf.constant(LABELS),
      None if mask is None else tf.constant(mask, tf.float32),
    ),
    tf.constant(query, tf.float32),
  )


def trained_names(prefix: str = '') -> list[str]:
  """The names of the graph's trained variables that begin so, sorted."""
  return sorted(v.op.name for v in tf.trainable_variables() if v.op.name.startswith(prefix))
