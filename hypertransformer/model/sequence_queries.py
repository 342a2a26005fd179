"""The queries of a sequence of tasks: the CNN after each task answers those of the tasks so far.

P pairs (t, tau), counted from 0, say what is asked: pair p stands for the images of task tau =
asked[p], which are given to the CNN as it is after task t = after[p].
"""

from __future__ import annotations

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.model import loops, prototypes
from hypertransformer.model.blocks import Blocks
from hypertransformer.model.hypertransformer import HyperTransformer
from hypertransformer.model.noise import Noise


def pair_outputs(
  model: HyperTransformer,
  weights: Blocks,
  images: tf.Tensor,
  after: np.ndarray,
  asked: np.ndarray,
  noise: Noise | None,
  mixed: bool = False,
) -> tf.Tensor:
  """Runs the CNN for each pair (t, tau).

  Batch norm takes its statistics from a batch. A batch holds the images of one task, or with
  `mixed` the same number of images of all tasks that are asked after the same task.

  Args:
    model: The HyperTransformer.
    weights: Weight blocks after each task, [T, B, b], by layer name; empty for a trained CNN.
    images: float32 [T, n, H, W, C].
    after: Integers [P], the t of each pair.
    asked: Integers [P], the tau of each pair.
    noise: Random numbers of a training step; None in evaluation.
    mixed: Whether batches hold the images of several tasks.

  Returns:
    [P, n, outputs], for the images of each pair in their own order.
  """
  size = images.shape[1]
  own = asked[:, None] * size + np.arange(size)  # images of task asked[p], counted through
  weights_of = {name: tf.gather(blocks, after) for name, blocks in weights.items()}
  if mixed:
    batches, places = mixed_batches(after, own)
    outputs = _classify(model, weights_of, images, batches, noise)
    return tf.gather(tf.reshape(outputs, [-1, outputs.shape[-1]]), places)
  if not weights:  # the same CNN on the same batches after every task: each runs once
    each = np.arange(images.shape[0] * size).reshape(-1, size)
    return tf.gather(_classify(model, {}, images, each, noise), asked)
  return _classify(model, weights_of, images, own, noise)


def mixed_batches(after: np.ndarray, batches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Deals the images of pairs with the same t out to mixed batches of the same size.

  There are as many mixed batches as pairs. Each holds images of every task that is asked after t,
  as equally many as possible; n must be at least the number of these tasks.

  Args:
    after: Integers [P], the t of each pair.
    batches: Integers [P, n], the numbers of the images of each pair.

  Returns:
    Two arrays of integers [P, n]. The first holds the numbers of the images in the mixed batches.
    The second says for each image of `batches` where it is in the first, whose entries are counted
    row after row.
  """
  size = batches.shape[1]
  mixed, places = np.empty_like(batches), np.empty_like(batches)
  for t in np.unique(after):
    passes = np.flatnonzero(after == t)
    task, number = np.divmod(np.arange(len(passes) * size), size)
    order = np.lexsort((task, number, number % len(passes)))
    mixed[passes] = batches[passes].reshape(-1)[order].reshape(-1, size)
    place = np.empty_like(order)
    place[order] = (passes[:, None] * size + np.arange(size)).reshape(-1)
    places[passes] = place.reshape(-1, size)
  return mixed, places


def _classify(
  model: HyperTransformer,
  weights: Blocks,
  images: tf.Tensor,
  batches: np.ndarray,
  noise: Noise | None,
) -> tf.Tensor:
  """Runs the CNN with the weights of each pair on its own batch of images.

  Args:
    model: The HyperTransformer.
    weights: Weight blocks of each pair, [P, B, b], by layer name.
    images: float32 [T, n, H, W, C].
    batches: Integers [P, n], the images of each batch. Images are counted through all tasks.
    noise: Random numbers of a training step; None in evaluation.

  Returns:
    [P, n, outputs].
  """
  flat = tf.reshape(images, [-1, *images.shape[2:]])

  def classify_batch(part: tuple[Blocks, tf.Tensor, tf.Tensor]) -> tf.Tensor:
    blocks, batch, number = part
    own_noise = None if noise is None else noise.fold(number)
    return model.classify(tf.gather(flat, batch), model.with_blocks(blocks), own_noise).logits

  return loops.map_each(classify_batch, (weights, tf.constant(batches), tf.range(len(batches))))


def pair_scores(
  outputs: tf.Tensor,
  prototypes_after: tf.Tensor,
  after: np.ndarray,
  asked: np.ndarray,
  scenario: str,
) -> tf.Tensor:
  """Compares the outputs for each pair with the prototypes that the scenario lets take part.

  Args:
    outputs: [P, Nq, U].
    prototypes_after: [T, T, K, U]. Entry [t, tau] holds the prototypes of task tau as they are
      after task t.
    after: Integers [P], the t of each pair.
    asked: Integers [P], the tau of each pair.
    scenario: task_incremental, class_incremental or mini_batch.

  Returns:
    Scores [P, Nq, C], with C = T * K classes in class_incremental and K in the other scenarios.
  """
  length, _, num_labels, units = prototypes_after.shape.as_list()
  if scenario == 'task_incremental':
    return prototypes.scores(outputs, tf.gather_nd(prototypes_after, np.stack([after, asked], 1)))
  if scenario == 'mini_batch':
    return prototypes.scores(outputs, tf.gather(prototypes.running_means(prototypes_after), after))
  together = tf.gather(tf.reshape(prototypes_after, [length, length * num_labels, units]), after)
  return prototypes.known_scores(outputs, together, (after + 1) * num_labels)
