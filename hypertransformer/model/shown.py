"""What people are shown of an episode: images, answers, generated kernels and attention.

The tensors are made for sessions that fetch them now and then. A step that does not fetch them does
not compute them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.model import layers
from hypertransformer.model.continual import SequenceOutcome, TaskSequence
from hypertransformer.model.hypertransformer import CnnWeights, HyperTransformer, Support
from hypertransformer.settings.config import ContinualConfig

# Tensors by the names of the fields of pictures.episode.Record.
Shown = dict[str, Any]


def of_task(
  model: HyperTransformer,
  support: Support,
  query_images: tf.Tensor,
  query_labels: tf.Tensor,
  weights: CnnWeights,
  logits: tf.Tensor,
) -> Shown:
  """Collect what is shown of a single task.

  Args:
    model: The model.
    support: The support set.
    query_images: [Nq, H, W, C].
    query_labels: Integers [Nq].
    weights: What `model.generate` made of the support set.
    logits: The answers to the query images, [Nq, K].
  """
  return {
    'support_images': support.images,
    'support_labels': support.labels,
    'query_images': query_images,
    'query_labels': query_labels,
    'predicted': tf.argmax(logits, -1, output_type=tf.int32),
    'num_classes': tf.constant(model.config.num_labels),
    'kernels': _kernels(model, {name: layer.blocks for name, layer in weights.layers.items()}),
    'attention': attention(support, weights),
  }


def attention(support: Support, weights: CnnWeights) -> dict[str, list[tf.Tensor]]:
  """Return the attention of the weight tokens of each generated layer to the support samples.

  Args:
    support: The support set.
    weights: What `model.generate` made of it.

  Returns:
    By layer name, for each block of the transformer, float [heads, B, Ns].
  """
  samples = tf.shape(support.labels)[0]
  return {
    name: [
      tf.stack([head[: layer.layout.num_blocks, -samples:] for head in heads])
      for heads in layer.attention
    ]
    for name, layer in weights.layers.items()
  }


def of_sequence(
  model: HyperTransformer, sequence: TaskSequence, outcome: SequenceOutcome, config: ContinualConfig
) -> Shown:
  """Collect what is shown of a sequence of tasks: what the model knows after the last one.

  The classes of all tasks are numbered through, as in class_incremental. No attention is shown: in
  a long sequence its tensors belong to the inside of a loop.
  """
  length = int(sequence.support_labels.shape[0])
  last = [number for number, (t, _) in enumerate(outcome.pairs) if t == length - 1]
  asked = np.array([outcome.pairs[number][1] for number in last], np.int32)
  one_set = config.scenario == 'mini_batch'  # the tasks are pieces with the same classes
  num_classes = model.config.num_labels * (1 if one_set else length)
  first: np.ndarray = np.arange(0, num_classes, model.config.num_labels, dtype=np.int32)
  own = first[:, None]  # the number of the first class of each task
  # In task_incremental answers and labels are numbers within a task.
  task = own[asked] if config.scenario == 'task_incremental' else 0
  predicted = tf.argmax(tf.gather(outcome.logits, last), -1, output_type=tf.int32) + task
  hits = layers.hits(outcome.logits, outcome.labels)
  cells = [length, max(tau for _, tau in outcome.pairs) + 1]
  return {
    'support_images': _flat(sequence.support_images),
    'support_labels': _flat(sequence.support_labels + own),
    'query_images': _flat(tf.gather(sequence.query_images, asked)),
    'query_labels': _flat(tf.gather(outcome.labels, last) + task),
    'predicted': _flat(predicted),
    'num_classes': tf.constant(num_classes),
    'kernels': _kernels(model, {name: blocks[-1] for name, blocks in outcome.weights.items()}),
    'attention': {},
    'accuracies': tf.tensor_scatter_nd_update(
      tf.fill(cells, np.float32(np.nan)), outcome.pairs, tf.reduce_mean(hits, axis=1)
    ),
  }


def _flat(x: tf.Tensor) -> tf.Tensor:
  """Join the first two axes: tasks, and images of a task."""
  return tf.reshape(x, [-1, *x.shape[2:]])


def _kernels(model: HyperTransformer, blocks: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
  """Take the kernels out of weight blocks [B, b] by layer name, under the same names."""
  return {
    plan.name: plan.layout.unpack(kernel, blocks[plan.name])
    for plan in (*model.plans, *model.heads)
    if plan.layout is not None and plan.name in blocks
    for kernel in plan.layout.shapes
    if kernel.endswith('/kernel')
  }
