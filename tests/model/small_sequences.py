"""Sequences of small tasks, and models that learn them in seconds."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.model import continual
from hypertransformer.model.continual import TaskSequence
from hypertransformer.model.hypertransformer import HyperTransformer
from hypertransformer.settings.config import CONTINUAL_METHODS, CONTINUAL_SCENARIOS, ContinualConfig
from hypertransformer.settings.model_config import FeatureConfig, ModelConfig, TransformerConfig

SIDE, K, UNITS = 8, 3, 4
CHT, PROTONET, MERGED = CONTINUAL_METHODS
TASK, CLASS, PIECES = CONTINUAL_SCENARIOS

# Settings of models whose generated weights are added to trained ones, of kernels or of everything.
ADDED = {'add_trainable_weights': True, 'generated_weight_scale': 0.1}
CORRECTION = {**ADDED, 'allocation': 'output', 'generate_bias': True, 'generate_bn': True}


def model_of(**changes) -> HyperTransformer:
  """A small model whose CNN ends in an embedding, with changed settings."""
  settings = {
    'num_labels': K,
    'kernel_size': 2,
    'stride': 1,
    'channels': 2,
    'embedding_dim': 3,
    'embedding_units': UNITS,
    'trained_layers': 1,
    'transformer': TransformerConfig(num_layers=1, heads=1),
    'features': FeatureConfig(layerwise=2),
    **changes,
  }
  return HyperTransformer(ModelConfig(**settings), (SIDE, SIDE, 1))


def draw(length: int, pieces: bool = False, seed: int = 1) -> TaskSequence:
  """A sequence of NumPy arrays, with 2 support and 3 query images of each class.

  Args:
    length: How many tasks there are, or pieces.
    pieces: Whether these are pieces of one support set, with one query set.
    seed: Seed of the random images and of their order.
  """
  rng = np.random.default_rng(seed)

  def part(tasks: int, each: int) -> tuple[np.ndarray, np.ndarray]:
    images = rng.uniform(-1, 1, (tasks, K * each, SIDE, SIDE, 1)).astype(np.float32)
    return images, np.stack(
      [rng.permutation(np.repeat(np.arange(K, dtype=np.int32), each)) for _ in range(tasks)]
    )

  return TaskSequence(*part(length, 2), *part(1 if pieces else length, 3))


def constant(sequence: TaskSequence) -> TaskSequence:
  """The same sequence as constant tensors."""
  return TaskSequence(
    *(tf.constant(getattr(sequence, field.name)) for field in dataclasses.fields(sequence))
  )


def fed(sequence: TaskSequence) -> TaskSequence:
  """Placeholders of the shapes of this sequence."""
  return TaskSequence(*(tf.placeholder(x.dtype, x.shape) for x in dataclasses.astuple(sequence)))


def feed(places: TaskSequence, values: TaskSequence) -> dict[tf.Tensor, np.ndarray]:
  """What to feed to the placeholders of `fed`."""
  return {
    getattr(places, field.name): getattr(values, field.name) for field in dataclasses.fields(places)
  }


def learn(
  model: HyperTransformer,
  sequence: TaskSequence,
  scenario: str = CLASS,
  method: str = CHT,
  **changes,
) -> continual.SequenceOutcome:
  """Learns a sequence without noise; changes are settings of ContinualConfig."""
  return continual.learn_sequence(model, sequence, ContinualConfig(scenario, method, **changes))


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
  """The mean cross-entropy, without label smoothing."""
  return tf.reduce_mean(
    tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
  )


def differing_in(task: int) -> tuple[TaskSequence, TaskSequence]:
  """Two sequences of two tasks that are equal but for the support images of one task."""
  first = draw(2)
  images = first.support_images.copy()
  images[task] = draw(2, seed=5).support_images[task]
  return first, dataclasses.replace(first, support_images=images)


def variable_names() -> list[str]:
  """The names of all variables in the graph, sorted."""
  return sorted(v.op.name for v in tf.global_variables())
