"""Learns sequences of tasks: the Continual HyperTransformer and the methods compared with it.

The method (arXiv 2301.04584; docs/spec/continual.md, section 1) is, for t = 1..T:

    theta_0 = 0                                        our choice
    theta_t = H(S_t, theta_(t-1))                      the weights after task t
    c[t, k] = mean of f(x; theta_t) over class k of S_t
    score of x after task t = -|f(x; theta_t) - c|^2   for the prototypes c of the scenario

H is the HyperTransformer (hypertransformer.py), whose weight tokens carry theta_(t-1). Prototypes
are kept and never computed again. Section 6 of the specification lists what the paper says and what
we chose. The specification counts tasks from 1, the code counts them from 0.

Short sequences are unrolled in the graph; longer ones are a loop in it, so that the
graph does not grow with T.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.errors import require
from hypertransformer.model.blocks import Blocks
from hypertransformer.model.getter import VariableUse
from hypertransformer.model.hypertransformer import CnnWeights, HyperTransformer, Support
from hypertransformer.model.layers import Noise
from hypertransformer.settings.config import ContinualConfig


@dataclasses.dataclass(frozen=True)
class SequenceOutcome:
  """What became of a sequence of T tasks: what was learned, and the answers to its queries.

  There are P pairs (t, tau). A pair stands for the queries of task tau, asked when the tasks up to
  t have been learned. C is the number of classes to choose from: T * K in class_incremental, K in
  the other scenarios.

  Attributes:
    pairs: All pairs (t, tau), both counted from 0, tau <= t, sorted by t and then by tau. In
      mini_batch there is one query set only, so tau is 0.
    logits: The scores, float32 [P, Nq, C].
    labels: int32 [P, Nq]. In class_incremental class k of task tau has the label tau * K + k.
    prototypes: [T, K, U] as they are after the last task; None if the CNN gives logits itself.
    learned: What was learned.
  """

  pairs: list[tuple[int, int]]
  logits: tf.Tensor
  labels: tf.Tensor
  prototypes: tf.Tensor | None
  learned: _Learned

  @property
  def weights(self) -> Blocks:
    """The weight blocks after each task, as in `learned`."""
    return self.learned.weights

  @property
  def uses(self) -> list[VariableUse]:
    """The variables that the CNN used in the support passes, as in `learned`."""
    return self.learned.uses


@dataclasses.dataclass(frozen=True)
class _Learned:
  """What is left of the support sets when the sequence has been learned.

  Attributes:
    weights: The weight blocks after each task, [T, B, b], by layer name, with trained parts added.
      Empty for the constant ProtoNet.
    prototypes: [T, T, K, U]. Entry [t, tau] holds the prototypes of task tau as they are after task
      t; entries with tau > t have no meaning.
    uses: The variables that the CNN used in the support passes. Their tensors may belong to the
      inside of a loop, so only names, shapes and sources may be used.
  """

  weights: Blocks
  prototypes: tf.Tensor
  uses: list[VariableUse]


def learn_task(
  model: HyperTransformer,
  support: Support,
  noise: Noise | None = None,
  before: Blocks | None = None,
) -> tuple[CnnWeights, tf.Tensor]:
  """Learn one more task: its weights theta_t = H(S_t, theta_(t-1)), and its prototypes.

  Args:
    model: The HyperTransformer H.
    support: The support set S_t.
    noise: Random numbers of a training step; None in evaluation.
    before: The weight blocks theta_(t-1), [B, b], by layer name; None stands for zeros.

  Returns:
    The weights theta_t, and the mean output [K, outputs] of each class.
  """
  outputs, weights = model.support_outputs(model.generate(support, noise, before))
  return weights, class_means(outputs, support.labels, model.config.num_labels)


def embed_task(model: HyperTransformer, support: Support) -> tuple[CnnWeights, tf.Tensor]:
  """Do the same as `learn_task` for the constant ProtoNet, whose CNN is not generated."""
  weights = model.with_blocks({})
  classified = model.classify(support.images, weights)
  means = class_means(classified.logits, support.labels, model.config.num_labels)
  return dataclasses.replace(weights, uses=classified.uses), means


def learn_sequence(
  model: HyperTransformer,
  sequence: TaskSequence,
  config: ContinualConfig,
  noise: Noise | None = None,
  last_only: bool = False,
) -> SequenceOutcome:
  """Learn the tasks of a sequence one after the other, and classify its query images.

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
    learned = learn(model, sequence, None if noise is None else noise.fold(0))
  pairs = [
    (t, tau)
    for t in range(length - 1 if last_only else 0, length)
    for tau in range(1 if config.scenario == 'mini_batch' else t + 1)
  ]
  return _ask(model, sequence, config, learned, pairs, None if noise is None else noise.fold(1))


def with_support_statistics(
  model: HyperTransformer,
  sequence: TaskSequence,
  config: ContinualConfig,
  outcome: SequenceOutcome,
  last_only: bool = False,
) -> SequenceOutcome:
  """Ask the queries of a sequence again, with frozen batch-norm statistics.

  The statistics of a task are those of its support images with the weights right after it. Queries
  have those of their own task in task_incremental, and otherwise those of all tasks so far.

  Args:
    model: The HyperTransformer.
    sequence: The support and query images of T tasks.
    config: As for `learn_sequence`.
    outcome: What that has returned.
    last_only: Ask queries after the last task only.
  """
  learned = outcome.learned

  def statistics(part: tuple[Blocks, tf.Tensor]) -> tf.Tensor:
    blocks, images = part
    return model.freeze(model.with_blocks(blocks), images).statistics

  last = max(t for t, _ in outcome.pairs)
  pairs = [(t, tau) for t, tau in outcome.pairs if t == last or not last_only]
  after, asked = np.array(pairs, np.int32).T
  frozen = map_each(statistics, (learned.weights, sequence.support_images))
  if config.scenario == 'task_incremental':
    frozen = tf.gather(frozen, asked)
  else:
    frozen = tf.gather(merged_statistics(frozen), after)
  return _ask(model, sequence, config, learned, pairs, statistics=frozen)


def merged_statistics(statistics: tf.Tensor) -> tf.Tensor:
  """Merge the batch-norm statistics of each task with those of the tasks before it.

  Args:
    statistics: [T, convolutions, 2, channels], means and variances.

  Returns:
    The same shape; entry t is of tasks 0..t, each of which counts equally.
  """
  mean, variance = tf.unstack(statistics, axis=2)
  squares = variance + tf.square(mean)
  counts = tf.cumsum(tf.ones_like(mean))
  mean, squares = tf.cumsum(mean) / counts, tf.cumsum(squares) / counts
  return tf.stack([mean, squares - tf.square(mean)], axis=2)


def _ask(
  model: HyperTransformer,
  sequence: TaskSequence,
  config: ContinualConfig,
  learned: _Learned,
  pairs: list[tuple[int, int]],
  noise: Noise | None = None,
  statistics: tf.Tensor | None = None,
) -> SequenceOutcome:
  """Classify the queries of each pair (t, tau); see `SequenceOutcome` and `pair_outputs`."""
  after, asked = np.array(pairs, np.int32).T  # t and tau of every pair
  with tf.name_scope('query'):
    outputs = pair_outputs(
      model,
      learned.weights,
      sequence.query_images,
      after,
      asked,
      noise,
      config.mixed_queries,
      statistics,
    )
  labels = tf.gather(sequence.query_labels, asked)
  if config.scenario == 'class_incremental':
    labels += (asked * model.config.num_labels)[:, None]
  if not config.prototypical:
    return SequenceOutcome(pairs, outputs, labels, None, learned)
  logits = pair_scores(outputs, learned.prototypes, after, asked, config.scenario)
  return SequenceOutcome(pairs, logits, labels, learned.prototypes[-1], learned)


def _learn_continually(
  model: HyperTransformer, sequence: TaskSequence, noise: Noise | None
) -> _Learned:
  """Learn with the Continual HyperTransformer: theta_t from S_t and theta_(t-1)."""
  length, num_labels = sequence.support_images.shape[0], model.config.num_labels
  uses: list[VariableUse] = []

  def step(
    before: tuple[Blocks, tf.Tensor], task: tuple[tf.Tensor, tf.Tensor, tf.Tensor]
  ) -> tuple[Blocks, tf.Tensor]:
    images, labels, number = task
    weights, means = learn_task(
      model, Support(images, labels), None if noise is None else noise.fold(number), before[0]
    )
    uses.extend(weights.uses)
    return model.used_blocks(weights), means

  start = _no_weights(model), tf.zeros([num_labels, *model.plans[-1].output_shape])
  tasks = sequence.support_images, sequence.support_labels, tf.range(length)
  weights, kept = scan(step, tasks, start)
  return _Learned(weights, _never_recomputed(kept), uses)


def _learn_merged(model: HyperTransformer, sequence: TaskSequence, noise: Noise | None) -> _Learned:
  """Learn with the merged HyperTransformer: theta_t from the support sets of tasks 1..t at once.

  This is an upper limit to compare with, and not continual (docs/spec/continual.md, section 3). All
  prototypes are recomputed after each task.

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
      'one for longer sequences (--num_tasks, --eval_num_tasks).',
    )
    labels = sequence_class_numbers(
      labels + model.config.num_labels * np.repeat(np.arange(length, dtype=np.int32), each),
      model,
      noise,
    )
  uses: list[VariableUse] = []

  def step(before: Blocks, number: tf.Tensor) -> Blocks:
    del before  # nothing but the support sets is carried on
    seen = (number + 1) * each
    weights = model.generate(
      Support(images[:seen], labels[:seen]), None if noise is None else noise.fold(number)
    )
    _, weights = model.support_outputs(weights)  # creates the variables that `used_blocks` needs
    uses.extend(weights.uses)
    return model.used_blocks(weights)

  weights = scan(step, tf.range(length), _no_weights(model))
  return _Learned(weights, _made_anew(model, weights, sequence), uses)


def _made_anew(model: HyperTransformer, weights: Blocks, sequence: TaskSequence) -> tf.Tensor:
  """Compute the prototypes [T, T, K, U] of all tasks so far with the weights after each task.

  Each support set is a batch of its own, with its own statistics, as each query set is.
  """
  length, num_labels = sequence.support_labels.shape[0], model.config.num_labels
  after, asked = np.tril_indices(length)
  outputs = pair_outputs(model, weights, sequence.support_images, after, asked, None)
  labels = (
    tf.gather(sequence.support_labels, asked)
    + num_labels * np.arange(len(asked), dtype=np.int32)[:, None]
  )
  means = class_means(
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
  """Choose the numbers by which the generators of the merged HyperTransformer know the classes.

  In training they are sampled from all that the generators have, so that short sequences
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
) -> _Learned:
  """Learn with the constant ProtoNet: one trained CNN for all tasks, and a prototype per class."""
  del noise  # in a support pass only generators use it, and there are none
  uses: list[VariableUse] = []

  def means(task: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
    weights, found = embed_task(model, Support(*task))
    uses.extend(weights.uses)
    return found

  kept = map_each(means, (sequence.support_images, sequence.support_labels))
  return _Learned({}, _never_recomputed(kept), uses)


def _no_weights(model: HyperTransformer) -> Blocks:
  """Make theta_0: weight blocks of zeros for every generated layer."""
  return {
    plan.name: tf.zeros([plan.layout.num_blocks, plan.layout.block_size])
    for plan in model.plans
    if plan.layout is not None
  }


def _never_recomputed(kept: tf.Tensor) -> tf.Tensor:
  """Repeat prototypes [T, K, U] to [T, T, K, U]: they are the same after every later task."""
  return tf.tile(kept[None], [kept.shape[0], 1, 1, 1])


def pair_outputs(
  model: HyperTransformer,
  weights: Blocks,
  images: tf.Tensor,
  after: np.ndarray,
  asked: np.ndarray,
  noise: Noise | None,
  mixed: bool = False,
  statistics: tf.Tensor | None = None,
) -> tf.Tensor:
  """Run the CNN for each pair (t, tau).

  Batch norm takes its statistics from a batch, unless they are given. A batch holds the images of
  one task, or with `mixed` the same number of images of all tasks that are asked after the same
  task.

  Args:
    model: The HyperTransformer.
    weights: Weight blocks after each task, [T, B, b], by layer name; empty for a trained CNN.
    images: float32 [T, n, H, W, C].
    after: Integers [P], the t of each pair.
    asked: Integers [P], the tau of each pair.
    noise: Random numbers of a training step; None in evaluation.
    mixed: Whether batches hold the images of several tasks.
    statistics: Batch-norm statistics of each pair, [P, convolutions, 2, channels]; None for those
      of the batches.

  Returns:
    [P, n, outputs], for the images of each pair in their own order.
  """
  size = images.shape[1]
  own = asked[:, None] * size + np.arange(size)  # images of task asked[p], counted through
  weights_of = {name: tf.gather(blocks, after) for name, blocks in weights.items()}
  if statistics is not None:
    return _classify(model, weights_of, images, own, noise, statistics)
  if mixed:
    batches, places = mixed_batches(after, own)
    outputs = _classify(model, weights_of, images, batches, noise)
    return tf.gather(tf.reshape(outputs, [-1, outputs.shape[-1]]), places)
  if not weights:  # the same CNN on the same batches after every task: each runs once
    each = np.arange(images.shape[0] * size).reshape(-1, size)
    return tf.gather(_classify(model, {}, images, each, noise), asked)
  return _classify(model, weights_of, images, own, noise)


def mixed_batches(after: np.ndarray, batches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Deal the images of pairs with the same t out to mixed batches of the same size.

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
  statistics: tf.Tensor | None = None,
) -> tf.Tensor:
  """Run the CNN with the weights of each pair on its own batch of images.

  Args:
    model: The HyperTransformer.
    weights: Weight blocks of each pair, [P, B, b], by layer name.
    images: float32 [T, n, H, W, C].
    batches: Integers [P, n], the images of each batch. Images are counted through all tasks.
    noise: Random numbers of a training step; None in evaluation.
    statistics: As for `pair_outputs`.

  Returns:
    [P, n, outputs].
  """
  flat = tf.reshape(images, [-1, *images.shape[2:]])

  def classify_batch(part: Any) -> tf.Tensor:
    blocks, batch, number, *frozen = part
    own_noise = None if noise is None else noise.fold(number)
    cnn = model.with_blocks(blocks, *frozen)
    return model.classify(tf.gather(flat, batch), cnn, own_noise).logits

  frozen = () if statistics is None else (statistics,)
  return map_each(classify_batch, (weights, tf.constant(batches), tf.range(len(batches)), *frozen))


def pair_scores(
  outputs: tf.Tensor,
  prototypes_after: tf.Tensor,
  after: np.ndarray,
  asked: np.ndarray,
  scenario: str,
) -> tf.Tensor:
  """Compare the outputs for each pair with the prototypes that the scenario lets take part.

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
    return prototype_scores(outputs, tf.gather_nd(prototypes_after, np.stack([after, asked], 1)))
  if scenario == 'mini_batch':
    return prototype_scores(outputs, tf.gather(running_means(prototypes_after), after))
  together = tf.gather(tf.reshape(prototypes_after, [length, length * num_labels, units]), after)
  return known_scores(outputs, together, (after + 1) * num_labels)


# Score of a class that is not known yet. Finite, so that 0 times it is 0 in a cross-entropy.
UNKNOWN = -1e9


def class_means(embeddings: tf.Tensor, labels: tf.Tensor, num_labels: int) -> tf.Tensor:
  """Compute the mean embedding of each class; 0 for a class without samples.

  Args:
    embeddings: [n, U].
    labels: Integers [n], from 0 to num_labels - 1.
    num_labels: How many classes there are.

  Returns:
    [num_labels, U].
  """
  return tf.math.unsorted_segment_mean(embeddings, labels, num_labels)


def prototype_scores(embeddings: tf.Tensor, prototypes: tf.Tensor) -> tf.Tensor:
  """Compute minus the squared distance of each embedding to each prototype.

  Args:
    embeddings: [P, n, U].
    prototypes: [P, C, U].

  Returns:
    [P, n, C].
  """
  products = tf.matmul(embeddings, prototypes, transpose_b=True)
  lengths = (
    tf.reduce_sum(tf.square(embeddings), -1)[:, :, None]
    + tf.reduce_sum(tf.square(prototypes), -1)[:, None]
  )
  return 2.0 * products - lengths


def known_scores(embeddings: tf.Tensor, prototypes: tf.Tensor, num_known: tf.Tensor) -> tf.Tensor:
  """Do the same as `prototype_scores`, but classes that are not known yet get the score UNKNOWN.

  Args:
    embeddings: [P, n, U].
    prototypes: [P, C, U].
    num_known: Integers [P]: for pair p, the classes num_known[p] and above are not known.

  Returns:
    [P, n, C].
  """
  mask = tf.sequence_mask(num_known, prototypes.shape[1])
  return tf.where_v2(mask[:, None], prototype_scores(embeddings, prototypes), UNKNOWN)


def running_means(prototypes: tf.Tensor) -> tf.Tensor:
  """Average the prototypes of a class over the pieces of a support set that have been seen.

  Args:
    prototypes: [T, T, K, U]. Entry [t, tau] is of piece tau, as it is after piece t.

  Returns:
    [T, K, U]. Entry t is the mean over the pieces tau <= t.
  """
  length = prototypes.shape[0]
  weights = (
    tf.linalg.band_part(tf.ones([length, length]), -1, 0) / tf.range(1.0, length + 1.0)[:, None]
  )
  return tf.einsum('ts,tsku->tku', weights, prototypes)


# Up to how many steps are unrolled: sequences of 5 tasks have 15 pairs (t, tau).
UNROLLED_SCAN, UNROLLED_MAP = 5, 15


def scan(step: Callable[[Any, Any], Any], elements: Any, start: Any) -> Any:
  """Compute states one from the other, as tf.scan does: each is `step(state before, element)`.

  Args:
    step: The function.
    elements: A structure of tensors whose first axis counts the steps.
    start: The state before the first step, any structure of tensors.

  Returns:
    A structure like `start`: the states after each step, stacked.
  """
  count = _count(elements)
  if count > UNROLLED_SCAN:
    return tf.scan(step, elements, start)
  states = [start]
  for number in range(count):
    states.append(step(states[-1], _at(elements, number)))
  return tf.nest.map_structure(lambda *each: tf.stack(each), *states[1:])


def map_each(function: Callable[[Any], tf.Tensor], elements: Any) -> tf.Tensor:
  """Apply a function to each element and stack the results, float32, as tf.map_fn does."""
  count = _count(elements)
  if count > UNROLLED_MAP:
    return tf.map_fn(function, elements, fn_output_signature=tf.float32)
  return tf.stack([function(_at(elements, number)) for number in range(count)])


def _count(elements: Any) -> int:
  """Return the number of elements."""
  return int(tf.nest.flatten(elements)[0].shape[0])


def _at(elements: Any, number: int) -> Any:
  """Return an element by its number, in the same structure."""
  return tf.nest.map_structure(lambda x: x[number], elements)


@dataclasses.dataclass(frozen=True)
class TaskSequence:
  """A sequence of T tasks, or in mini_batch T pieces of one support set and one query set.

  Labels are those within a task, 0 to K - 1.

  Attributes:
    support_images: float32 [T, Ns, S, S, C].
    support_labels: int32 [T, Ns].
    query_images: float32 [T, Nq, S, S, C]; in mini_batch [1, Nq, S, S, C].
    query_labels: int32 [T, Nq]; in mini_batch [1, Nq].
  """

  support_images: tf.Tensor
  support_labels: tf.Tensor
  query_images: tf.Tensor
  query_labels: tf.Tensor
