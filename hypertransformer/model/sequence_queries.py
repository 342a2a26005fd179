"""The queries of a sequence of tasks: the CNN after each task classifies those of the tasks so far."""

from __future__ import annotations

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.model import loops, prototypes
from hypertransformer.model.blocks import Blocks
from hypertransformer.model.hypertransformer import HyperTransformer
from hypertransformer.model.noise import Noise


def outputs_of(
  model: HyperTransformer,
  weights: Blocks,
  images: tf.Tensor,
  after: np.ndarray,
  of: np.ndarray,
  noise: Noise | None,
  mixed: bool = False,
) -> tf.Tensor:
  """[P, n, outputs]: the CNN after task after[p] on the images [T, n, S, S, C] of task of[p]. A
  batch, whose statistics batch norm takes, is the images of one task; mixed: of all those asked
  after the same task.
  """
  size = images.shape[1]
  own = of[:, None] * size + np.arange(size)
  weights_of = {name: tf.gather(blocks, after) for name, blocks in weights.items()}
  if mixed:
    batches, places = mixed_batches(after, own)
    outputs = _classify(model, weights_of, images, batches, noise)
    return tf.gather(tf.reshape(outputs, [-1, outputs.shape[-1]]), places)
  if not weights:  # the same CNN on the same batches after every task
    return tf.gather(
      _classify(model, {}, images, np.arange(images.shape[0] * size).reshape(-1, size), noise), of
    )
  return _classify(model, weights_of, images, own, noise)


def mixed_batches(after: np.ndarray, batches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Deals the images of the passes with the same after[p] out to as many batches of the same size,
  each with images of every task (n is at least their number).

  batches int [P, n]: numbers of the images of one task each. Returns (the same, mixed; places int
  [P, n]: where in the mixed ones, counted through, each image of the given ones is).
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
  """weights [P, B, b] by layer name, images [T, n, S, S, C] -> [P, n, outputs] for the images
  batches[p] (int [P, n], counted through).
  """
  flat = tf.reshape(images, [-1, *images.shape[2:]])

  def one(single: tuple[Blocks, tf.Tensor, tf.Tensor]) -> tf.Tensor:
    blocks, batch, number = single
    own_noise = None if noise is None else noise.fold(number)
    return model.classify(tf.gather(flat, batch), model.with_blocks(blocks), own_noise).logits

  return loops.map_each(one, (weights, tf.constant(batches), tf.range(len(batches))))


def scores_of(
  outputs: tf.Tensor, known: tf.Tensor, after: np.ndarray, of: np.ndarray, scenario: str
) -> tf.Tensor:
  """outputs [P, Nq, U], known prototypes [T, T, K, U] -> [P, Nq, C]."""
  num_tasks, _, num_labels, units = known.shape.as_list()
  if scenario == 'task_incremental':
    return prototypes.scores(outputs, tf.gather_nd(known, np.stack([after, of], 1)))
  if scenario == 'mini_batch':
    return prototypes.scores(outputs, tf.gather(prototypes.running_means(known), after))
  together = tf.gather(tf.reshape(known, [num_tasks, num_tasks * num_labels, units]), after)
  return prototypes.known_scores(outputs, together, (after + 1) * num_labels)
