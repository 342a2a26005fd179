"""A sequence of tasks as tensors: what the continual method learns from, and is asked."""

from __future__ import annotations

import dataclasses

import tensorflow.compat.v1 as tf


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
