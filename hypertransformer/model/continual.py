"""The Continual HyperTransformer (arXiv 2301.04584; spec/continual.md), and the methods it is
compared with.

    theta_t = H(S_t, theta_{t-1})                          t = 1..T, theta_0 = 0 (our choice)
    c[t, k] = mean of f(x; theta_t) over class k of S_t    the prototypes; kept, never computed again
    scores of x after task t = -|f(x; theta_t) - c|^2      over the prototypes of the scenario

What the paper leaves open and we chose: theta_0, disjoint classes, prototypes of a mini-batch
sequence averaged over its pieces, its cross-entropy variant. H is the HyperTransformer
(hypertransformer.py), whose weight tokens bring theta_{t-1} along. Beyond a few tasks the recursion
is one loop in the graph, which then does not grow with T.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.episodes.sequences import Sequence
from hypertransformer.errors import require
from hypertransformer.model import loops, prototypes
from hypertransformer.model.blocks import Blocks
from hypertransformer.model.getter import Row
from hypertransformer.model.hypertransformer import CnnWeights, HyperTransformer, Support
from hypertransformer.model.noise import Noise
from hypertransformer.model.sequence_queries import outputs_of, scores_of
from hypertransformer.settings.config import ContinualConfig


@dataclasses.dataclass(frozen=True)
class Outcome:
  """What a sequence of T tasks led to.

  pairs: (t, tau), both from 0: queries of task tau after task t; by t, then tau; tau <= t
  (mini_batch: tau = 0 only). logits [P, Nq, C], labels int32 [P, Nq]: class_incremental: C = T * K,
  label = tau * K + k; otherwise C = K.
  weights: blocks after each task [T, B, b] by layer name, trained parts included; {} for the
    constant ProtoNet.
  prototypes: [T, K, U] as known after the last task; None without prototypes.
  rows: what the getter gave to the support pass. Their tensors may belong to a loop: use names,
    shapes, sources only.
  """

  pairs: list[tuple[int, int]]
  logits: tf.Tensor
  labels: tf.Tensor
  weights: Blocks
  prototypes: tf.Tensor | None
  rows: list[Row]


@dataclasses.dataclass(frozen=True)
class _Memory:
  """What is left of the support sets. weights: blocks after each task [T, B, b]; prototypes [T, T,
  K, U]: of task tau as known after task t (without meaning for tau > t).
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
  """theta_t = H(S_t, theta_{t-1}) and the mean output [K, outputs] of each class. before: the
  blocks theta_{t-1}; None stands for zeros.
  """
  weights = model.generate(support, noise, before)
  return weights, prototypes.class_means(
    model.support_outputs(weights), support.labels, model.config.num_labels
  )


def embed_task(model: HyperTransformer, support: Support) -> tuple[CnnWeights, tf.Tensor]:
  """The same of the constant ProtoNet, whose CNN is trained and generates nothing."""
  weights = model.with_blocks({})
  classified = model.classify(support.images, weights)
  means = prototypes.class_means(classified.logits, support.labels, model.config.num_labels)
  return dataclasses.replace(weights, rows=classified.rows), means


def learn_sequence(
  model: HyperTransformer,
  sequence: Sequence,
  config: ContinualConfig,
  noise: Noise | None = None,
  last_only: bool = False,
) -> Outcome:
  """Learns the tasks one after the other and classifies the queries of those learned so far after
  each, or after the last only.

  noise: given in training, None in evaluation (no dropout).
  """
  num_tasks = sequence.support_images.shape[0]
  learn = {
    'continual_hypertransformer': _learn_continually,
    'merged_hypertransformer': _learn_merged,
    'constant_protonet': _learn_prototypes_only,
  }[config.method]
  with tf.name_scope('learn'):
    memory = learn(model, sequence, None if noise is None else noise.fold(0))
  pairs = [
    (t, tau)
    for t in range(num_tasks - 1 if last_only else 0, num_tasks)
    for tau in range(1 if config.scenario == 'mini_batch' else t + 1)
  ]
  after, of = np.array(pairs, np.int32).T
  with tf.name_scope('query'):
    outputs = outputs_of(
      model,
      memory.weights,
      sequence.query_images,
      after,
      of,
      None if noise is None else noise.fold(1),
      config.mixed_queries,
    )
  labels = tf.gather(sequence.query_labels, of)
  if config.scenario == 'class_incremental':
    labels += (of * model.config.num_labels)[:, None]
  if not config.prototypical:
    return Outcome(pairs, outputs, labels, memory.weights, None, memory.rows)
  logits = scores_of(outputs, memory.prototypes, after, of, config.scenario)
  return Outcome(pairs, logits, labels, memory.weights, memory.prototypes[-1], memory.rows)


def _learn_continually(model: HyperTransformer, sequence: Sequence, noise: Noise | None) -> _Memory:
  """theta_t from the support set of task t and theta_{t-1}."""
  num_tasks, num_labels = sequence.support_images.shape[0], model.config.num_labels
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
  tasks = sequence.support_images, sequence.support_labels, tf.range(num_tasks)
  weights, kept = loops.scan(step, tasks, start)
  return _Memory(weights, _never_recomputed(kept), rows)


def _learn_merged(model: HyperTransformer, sequence: Sequence, noise: Noise | None) -> _Memory:
  """theta_t from the support sets of tasks 1..t, all seen at once: an upper bound, not continual.

  All prototypes are made anew.
  """
  num_tasks, each = sequence.support_labels.shape.as_list()
  images = tf.reshape(sequence.support_images, [-1, *sequence.support_images.shape[2:]])
  labels = tf.reshape(sequence.support_labels, [-1])
  if model.config.support_classes:
    require(
      num_tasks * model.config.num_labels <= model.config.support_classes,
      f'sequences of {num_tasks} tasks have {num_tasks * model.config.num_labels} classes, more than the '
      f'{model.config.support_classes} that this merged HyperTransformer tells apart: train one with so many '
      '(--num_tasks, --eval_num_tasks).',
    )
    labels = _shown_labels(
      labels + model.config.num_labels * np.repeat(np.arange(num_tasks, dtype=np.int32), each),
      model,
      noise,
    )
  rows: list[Row] = []

  def step(before: Blocks, number: tf.Tensor) -> Blocks:
    del before
    seen = (number + 1) * each
    weights = model.generate(
      Support(images[:seen], labels[:seen]), None if noise is None else noise.fold(number)
    )
    model.support_outputs(weights)  # the last layer's blocks are known when it has used them
    rows.extend(weights.rows)
    return model.used_blocks(weights)

  weights = loops.scan(step, tf.range(num_tasks), _no_weights(model))
  return _Memory(weights, _made_anew(model, weights, sequence), rows)


def _made_anew(model: HyperTransformer, weights: Blocks, sequence: Sequence) -> tf.Tensor:
  """Prototypes [T, T, K, U] of the tasks seen by the CNN after each: a support set is a batch by
  itself, with its own statistics, as a query set is.
  """
  num_tasks, num_labels = sequence.support_labels.shape[0], model.config.num_labels
  after, of = np.tril_indices(num_tasks)
  outputs = outputs_of(model, weights, sequence.support_images, after, of, None)
  labels = (
    tf.gather(sequence.support_labels, of)
    + num_labels * np.arange(len(of), dtype=np.int32)[:, None]
  )
  means = prototypes.class_means(
    tf.reshape(outputs, [-1, outputs.shape[-1]]), tf.reshape(labels, [-1]), len(of) * num_labels
  )
  return tf.scatter_nd(
    np.stack([after, of], 1),
    tf.reshape(means, [len(of), num_labels, -1]),
    [num_tasks, num_tasks, num_labels, outputs.shape[-1]],
  )


def _shown_labels(labels: tf.Tensor, model: HyperTransformer, noise: Noise | None) -> tf.Tensor:
  """The classes of all tasks by numbers of their own. In training they are drawn from all that the
  generator has, so that it knows them all however short the sequences are; without noise they are
  0, 1, ...
  """
  if noise is None:
    return labels
  return tf.gather(
    tf.argsort(noise.rate(noise.uniform([model.config.support_classes])), stable=True), labels
  )


def _learn_prototypes_only(
  model: HyperTransformer, sequence: Sequence, noise: Noise | None
) -> _Memory:
  """One trained CNN for all tasks: ProtoNet."""
  del noise  # of the support pass there is none but the generators'
  rows: list[Row] = []

  def means(task: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    weights, found = embed_task(model, Support(*task))
    rows.extend(weights.rows)
    return found

  kept = loops.map_each(means, (sequence.support_images, sequence.support_labels))
  return _Memory({}, _never_recomputed(kept), rows)


def _no_weights(model: HyperTransformer) -> Blocks:
  """theta_0."""
  return {
    plan.name: tf.zeros([plan.layout.num_blocks, plan.layout.block_size])
    for plan in model.plans
    if plan.layout is not None
  }


def _never_recomputed(kept: tf.Tensor) -> tf.Tensor:
  """Prototypes [T, K, U] of each task -> [T, T, K, U]: the same after every later task."""
  return tf.tile(kept[None], [kept.shape[0], 1, 1, 1])
