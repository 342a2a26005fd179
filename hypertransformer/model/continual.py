"""Learns sequences of tasks: the Continual HyperTransformer and the methods compared with it.

The method (arXiv 2301.04584; docs/spec/continual.md, section 1) is, for t = 1..T:

    theta_0 = 0                                        our choice
    theta_t = H(S_t, theta_(t-1))                      the weights after task t
    c[t, k] = mean of f(x; theta_t) over class k of S_t
    score of x after task t = -|f(x; theta_t) - c|^2   for the prototypes c of the scenario

H is the HyperTransformer (hypertransformer.py), whose weight tokens carry theta_(t-1). Prototypes
are kept and never computed again. Section 6 of the specification lists what the paper says and what
we chose. The specification counts tasks from 1, the code counts them from 0.

Short sequences are unrolled in the graph; longer ones are a loop in it (loops.py), so that the
graph does not grow with T.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.episodes.sequence import TaskSequence
from hypertransformer.errors import require
from hypertransformer.model import loops, prototypes
from hypertransformer.model.blocks import Blocks
from hypertransformer.model.getter import Row
from hypertransformer.model.hypertransformer import CnnWeights, HyperTransformer, Support
from hypertransformer.model.noise import Noise
from hypertransformer.model.sequence_queries import pair_outputs, pair_scores
from hypertransformer.settings.config import ContinualConfig


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What became of a sequence of T tasks: what was learned, and the answers to its queries.

  There are P pairs (t, tau). A pair stands for the queries of task tau, asked when the tasks up to
  t have been learned. C is the number of classes to choose from: T * K in class_incremental, K in
  the other scenarios.

  Attributes:
    pairs: All pairs (t, tau), both counted from 0, tau <= t, sorted by t and then by tau. In
      mini_batch there is one query set only, so tau is 0.
    logits: The scores, float32 [P, Nq, C].
    labels: int32 [P, Nq]. In class_incremental class k of task tau has the label tau * K + k.
    weights: The weight blocks after each task, [T, B, b], by layer name, with trained parts added.
      Empty for the constant ProtoNet.
    prototypes: [T, K, U] as they are after the last task; None if the CNN gives logits itself.
    rows: What the getter gave out in the support passes. Their tensors may belong to the inside of
      a loop, so only names, shapes and sources may be used.
  """

  pairs: list[tuple[int, int]]
  logits: tf.Tensor
  labels: tf.Tensor
  weights: Blocks
  prototypes: tf.Tensor | None
  rows: list[Row]


@dataclasses.dataclass(frozen=True)
class _Memory:
  """What is left of the support sets when the sequence has been learned.

  Attributes:
    weights: The weight blocks after each task, [T, B, b], by layer name.
    prototypes: [T, T, K, U]. Entry [t, tau] holds the prototypes of task tau as they are after task
      t; entries with tau > t have no meaning.
    rows: What the getter gave out in the support passes.
  """

  weights: Blocks
  prototypes: tf.Tensor
  rows: list[Row]


def learn_task(
  model: HyperTransformer,
  support: Support,
  noise: Noise | None = None,
  before: Blocks | None = None,
) -> tuple[CnnWeights, tf.Tensor]:
  """Learns one more task: its weights theta_t = H(S_t, theta_(t-1)), and its prototypes.

  Args:
    model: The HyperTransformer H.
    support: The support set S_t.
    noise: Random numbers of a training step; None in evaluation.
    before: The weight blocks theta_(t-1), [B, b], by layer name; None stands for zeros.

  Returns:
    The weights theta_t, and the mean output [K, outputs] of each class.
  """
  weights = model.generate(support, noise, before)
  return weights, prototypes.class_means(
    model.support_outputs(weights), support.labels, model.config.num_labels
  )


def embed_task(model: HyperTransformer, support: Support) -> tuple[CnnWeights, tf.Tensor]:
  """Does what `learn_task` does for the constant ProtoNet, whose CNN is trained, not generated."""
  weights = model.with_blocks({})
  classified = model.classify(support.images, weights)
  means = prototypes.class_means(classified.logits, support.labels, model.config.num_labels)
  return dataclasses.replace(weights, rows=classified.rows), means


def learn_sequence(
  model: HyperTransformer,
  sequence: TaskSequence,
  config: ContinualConfig,
  noise: Noise | None = None,
  last_only: bool = False,
) -> Outcome:
  """Learns the tasks of a sequence one after the other, and classifies its query images.

  The queries of all tasks so far are asked after each task, or after the last one only.

  Args:
    model: The HyperTransformer.
    sequence: The support and query images of T tasks.
    config: The scenario, and the method that learns.
    noise: Random numbers of a training step; None in evaluation, where nothing is dropped.
    last_only: Ask queries after the last task only.
  """
  length = sequence.support_images.shape[0]
  learn = {
    'continual_hypertransformer': _learn_continually,
    'merged_hypertransformer': _learn_merged,
    'constant_protonet': _learn_prototypes_only,
  }[config.method]
  with tf.name_scope('learn'):
    memory = learn(model, sequence, None if noise is None else noise.fold(0))
  pairs = [
    (t, tau)
    for t in range(length - 1 if last_only else 0, length)
    for tau in range(1 if config.scenario == 'mini_batch' else t + 1)
  ]
  after, asked = np.array(pairs, np.int32).T  # t and tau of every pair
  with tf.name_scope('query'):
    outputs = pair_outputs(
      model,
      memory.weights,
      sequence.query_images,
      after,
      asked,
      None if noise is None else noise.fold(1),
      config.mixed_queries,
    )
  labels = tf.gather(sequence.query_labels, asked)
  if config.scenario == 'class_incremental':
    labels += (asked * model.config.num_labels)[:, None]
  if not config.prototypical:
    return Outcome(pairs, outputs, labels, memory.weights, None, memory.rows)
  logits = pair_scores(outputs, memory.prototypes, after, asked, config.scenario)
  return Outcome(pairs, logits, labels, memory.weights, memory.prototypes[-1], memory.rows)


def _learn_continually(
  model: HyperTransformer, sequence: TaskSequence, noise: Noise | None
) -> _Memory:
  """Learns with the Continual HyperTransformer: theta_t from S_t and theta_(t-1)."""
  length, num_labels = sequence.support_images.shape[0], model.config.num_labels
  rows: list[Row] = []

  def step(
    before: tuple[Blocks, tf.Tensor], task: tuple[tf.Tensor, tf.Tensor, tf.Tensor]
  ) -> tuple[Blocks, tf.Tensor]:
    images, labels, number = task
    weights, means = learn_task(
      model, Support(images, labels), None if noise is None else noise.fold(number), before[0]
    )
    rows.extend(weights.rows)
    return model.used_blocks(weights), means

  start = _no_weights(model), tf.zeros([num_labels, *model.plans[-1].output_shape])
  tasks = sequence.support_images, sequence.support_labels, tf.range(length)
  weights, kept = loops.scan(step, tasks, start)
  return _Memory(weights, _never_recomputed(kept), rows)


def _learn_merged(model: HyperTransformer, sequence: TaskSequence, noise: Noise | None) -> _Memory:
  """Learns with the merged HyperTransformer: theta_t from the support sets of tasks 1..t at once.

  This is an upper limit to compare with, and not continual (docs/spec/continual.md, section 3). All
  prototypes are made anew after each task.

  Raises:
    InputError: The sequence has more classes than the generators can tell apart.
  """
  length, each = sequence.support_labels.shape.as_list()
  images = tf.reshape(sequence.support_images, [-1, *sequence.support_images.shape[2:]])
  labels = tf.reshape(sequence.support_labels, [-1])
  if model.config.support_classes:
    require(
      length * model.config.num_labels <= model.config.support_classes,
      f'sequences of {length} tasks have {length * model.config.num_labels} classes, more than '
      f'the {model.config.support_classes} that this merged HyperTransformer tells apart: train '
      'one with so many (--num_tasks, --eval_num_tasks).',
    )
    labels = sequence_class_numbers(
      labels + model.config.num_labels * np.repeat(np.arange(length, dtype=np.int32), each),
      model,
      noise,
    )
  rows: list[Row] = []

  def step(before: Blocks, number: tf.Tensor) -> Blocks:
    del before  # nothing but the support sets is carried on
    seen = (number + 1) * each
    weights = model.generate(
      Support(images[:seen], labels[:seen]), None if noise is None else noise.fold(number)
    )
    model.support_outputs(weights)  # makes what `used_blocks` needs of the last layer
    rows.extend(weights.rows)
    return model.used_blocks(weights)

  weights = loops.scan(step, tf.range(length), _no_weights(model))
  return _Memory(weights, _made_anew(model, weights, sequence), rows)


def _made_anew(model: HyperTransformer, weights: Blocks, sequence: TaskSequence) -> tf.Tensor:
  """Computes the prototypes [T, T, K, U] of all tasks so far with the weights after each task.

  Each support set is a batch of its own, with its own statistics, as each query set is.
  """
  length, num_labels = sequence.support_labels.shape[0], model.config.num_labels
  after, asked = np.tril_indices(length)
  outputs = pair_outputs(model, weights, sequence.support_images, after, asked, None)
  labels = (
    tf.gather(sequence.support_labels, asked)
    + num_labels * np.arange(len(asked), dtype=np.int32)[:, None]
  )
  means = prototypes.class_means(
    tf.reshape(outputs, [-1, outputs.shape[-1]]), tf.reshape(labels, [-1]), len(asked) * num_labels
  )
  return tf.scatter_nd(
    np.stack([after, asked], 1),
    tf.reshape(means, [len(asked), num_labels, -1]),
    [length, length, num_labels, outputs.shape[-1]],
  )


def sequence_class_numbers(
  labels: tf.Tensor, model: HyperTransformer, noise: Noise | None
) -> tf.Tensor:
  """Chooses the numbers by which the generators of the merged HyperTransformer know the classes.

  In training they are drawn at random from all that the generators have, so that short sequences
  train them all. Without noise, or with noise that is off, classes keep their numbers in `labels`.

  Args:
    labels: Integers [n]; class k of task tau, both counted from 0, is tau * K + k.
    model: The merged HyperTransformer.
    noise: Random numbers of a training step; None in evaluation.

  Returns:
    Integers [n].
  """
  if noise is None:
    return labels
  # For a test episode the noise is off and all keys are 0: the stable sort keeps the order.
  keys = noise.if_on(noise.uniform([model.config.support_classes]))
  return tf.gather(tf.argsort(keys, stable=True), labels)


def _learn_prototypes_only(
  model: HyperTransformer, sequence: TaskSequence, noise: Noise | None
) -> _Memory:
  """Learns with the constant ProtoNet: one trained CNN for all tasks, and a prototype per class."""
  del noise  # in a support pass only generators use it, and there are none
  rows: list[Row] = []

  def means(task: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    weights, found = embed_task(model, Support(*task))
    rows.extend(weights.rows)
    return found

  kept = loops.map_each(means, (sequence.support_images, sequence.support_labels))
  return _Memory({}, _never_recomputed(kept), rows)


def _no_weights(model: HyperTransformer) -> Blocks:
  """Makes theta_0: weight blocks of zeros for every generated layer."""
  return {
    plan.name: tf.zeros([plan.layout.num_blocks, plan.layout.block_size])
    for plan in model.plans
    if plan.layout is not None
  }


def _never_recomputed(kept: tf.Tensor) -> tf.Tensor:
  """Repeats prototypes [T, K, U] to [T, T, K, U]: they are the same after every later task."""
  return tf.tile(kept[None], [kept.shape[0], 1, 1, 1])
