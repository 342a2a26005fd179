"""Runs a trained model one step at a time, in a graph and a session of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.episodes import image_ops
from hypertransformer.errors import InputError
from hypertransformer.learners.trained import Trained
from hypertransformer.model import continual, prototypes
from hypertransformer.model.hypertransformer import HyperTransformer, Support
from hypertransformer.runtime import checkpoints, sessions
from hypertransformer.settings import changes, flags_file

Blocks = dict[str, np.ndarray]  # the weight blocks [B, b] of each generated layer, by its name


@dataclasses.dataclass(frozen=True)
class Learned:
  """What is learned from a support set.

  Attributes:
    blocks: the weight blocks of the CNN, trained parts included.
    means: the mean output of the CNN over the support images of each class, [K, outputs].
  """

  blocks: Blocks
  means: np.ndarray


class Engine:
  """Runs the code of the model on arrays of the caller, in place of episodes."""

  def __init__(self, trained: Trained) -> None:
    """Builds the graph and restores the checkpoint.

    Raises:
      InputError: the checkpoint does not fit the flags beside it.
    """
    self._trained = trained
    self._constant = (
      trained.continual is not None and trained.continual.method == 'constant_protonet'
    )
    self._closed = False
    with _sizes_are_numbers(), tf.Graph().as_default():
      model = HyperTransformer(trained.model, trained.image_shape)
      self._images = tf.placeholder(tf.float32, [None, *trained.image_shape], 'images')
      self._labels = tf.placeholder(tf.int32, [None], 'labels')
      self._known = tf.placeholder(tf.float32, [None, *model.plans[-1].output_shape], 'prototypes')
      self._blocks = (
        {}
        if self._constant
        else {
          plan.name: tf.placeholder(
            tf.float32, [plan.layout.num_blocks, plan.layout.block_size], plan.name
          )
          for plan in model.plans
          if plan.layout is not None
        }
      )
      self._build(model, image_ops.normalise(self._images, trained.image_shape[0]))
      self._variables = tf.global_variables()
      checkpoints.require_match(
        trained.prefix,
        self._variables,
        f'and the {flags_file.FLAGS_FILE} beside it are not of the same model, or not of this '
        'version of the package',
        'Take both from one training folder.',
      )
      self._session = tf.Session(config=sessions.config(tf.get_default_graph()))
      tf.train.Saver(self._variables).restore(self._session, trained.prefix)

  def _build(self, model: HyperTransformer, images: tf.Tensor) -> None:
    """Builds all that can be asked for; the images are those of a support set or of queries."""
    support = Support(images, self._labels)
    weights, means = (
      continual.embed_task(model, support)
      if self._constant
      else continual.learn_task(
        model, support, None, self._blocks if self._trained.continual else None
      )
    )
    classified = model.classify(images, model.with_blocks(self._blocks))
    self._learned = model.used_blocks(weights), means
    self._outputs = classified.logits
    self._scores = prototypes.scores(classified.logits[None], self._known[None])[0]
    self._rows = {f'{row.layer}/{row.variable}': row.value for row in classified.rows}

  @property
  def generated_layers(self) -> list[str]:
    """Names of the layers that have weight blocks, in their order; [] if none is generated."""
    return list(self._blocks)

  def no_blocks(self) -> Blocks:
    """The weight blocks before the first task: zeros."""
    return {
      name: np.zeros(place.shape.as_list(), np.float32) for name, place in self._blocks.items()
    }

  def learn(self, images: np.ndarray, labels: np.ndarray, before: Blocks) -> Learned:
    """Learns from one support set.

    Args:
      images: the support images, float32 [n, S, S, C], in 0..255.
      labels: their labels, int [n], in 0..K-1.
      before: the weight blocks that the earlier tasks have left; {} if the model does not learn
        sequences of tasks.
    """
    fed = {self._images: images, self._labels: labels, **self._fed(before)}
    return Learned(*self._run(self._learned, fed))

  def outputs(self, images: np.ndarray, blocks: Blocks) -> np.ndarray:
    """The outputs of the CNN with these weight blocks, float32 [n, outputs].

    Batch norm uses the statistics of these images, float32 [n, S, S, C], in 0..255.
    """
    return self._run(self._outputs, {self._images: images, **self._fed(blocks)})

  def scores(self, images: np.ndarray, blocks: Blocks, known: np.ndarray) -> np.ndarray:
    """Minus the squared distance of the CNN's outputs to each prototype, float32 [n, classes].

    Args:
      images: float32 [n, S, S, C], in 0..255.
      blocks: the weight blocks of the CNN.
      known: the prototypes, [classes, outputs].
    """
    return self._run(self._scores, {self._images: images, self._known: known, **self._fed(blocks)})

  def weights(self, blocks: Blocks) -> dict[str, np.ndarray]:
    """The variables of the CNN as it uses them, by names such as 'layer_1/conv/kernel'."""
    return self._run(self._rows, self._fed(blocks))

  def fingerprint(self) -> str:
    """A digest of the model's settings and variables.

    What one model has learned means nothing to another, and this tells them apart.
    """
    values = changes.changed_model_flags(self._trained.values)
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    variables = self._run({variable.op.name: variable for variable in self._variables}, {})
    for name, value in sorted(variables.items()):
      digest.update(name.encode() + value.tobytes())
    return digest.hexdigest()

  def close(self) -> None:
    """Closes the session. It may be called several times."""
    self._closed = True
    self._session.close()

  def _fed(self, blocks: Mapping[str, np.ndarray]) -> dict[tf.Tensor, np.ndarray]:
    """What is to be fed for these weight blocks."""
    return {self._blocks[name]: value for name, value in blocks.items()}

  def _run(self, fetches: Any, fed: Mapping[tf.Tensor, np.ndarray]) -> Any:
    if self._closed:
      raise InputError(
        'the learner is closed; make a new one, and use it before the end of its `with`.'
      )
    return self._session.run(fetches, fed)


@contextlib.contextmanager
def _sizes_are_numbers() -> Iterator[None]:
  """Makes the sizes in a TensorShape ints for a time, which building a model relies on.

  They are not ints if the caller has switched to TensorFlow 1 (tf.disable_v2_behavior).
  """
  switched = not isinstance(tf.TensorShape([1])[0], int)
  if switched:
    tf.enable_v2_tensorshape()
  try:
    yield
  finally:
    if switched:
      tf.disable_v2_tensorshape()
