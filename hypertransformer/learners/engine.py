"""Opens a checkpoint and runs its model on arrays, in a graph and a session of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Hashable, Iterator, Sequence
from concurrent import futures
from typing import Any, NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.episodes import image_ops
from hypertransformer.errors import InputError, require
from hypertransformer.learners import inputs
from hypertransformer.learners.export import FrozenCnn
from hypertransformer.model import continual, shown
from hypertransformer.model.hypertransformer import HyperTransformer, Support
from hypertransformer.runtime import checkpoints, sessions
from hypertransformer.settings import flags_file
from hypertransformer.settings.config import Settings

# The first of these variables that a checkpoint has is the kernel of a convolution that sees the
# image itself, [k, k, channels of the image, channels of its output].
SEE_THE_IMAGE = (
  'model/shared_features/layer_1/kernel',
  'model/generator_1/features/layer_1/kernel',
  'model/cnn/layer_1/conv/kernel',
)
CLOSED = 'The learner is closed. Open a new one, and use it before the end of its `with`.'
_PROCESS: dict[str, int] = {}  # the 'id' of the first process that has opened an engine

BlockArrays = dict[str, np.ndarray]  # the weight blocks [B, b] of each generated layer, by its name


class Learned(NamedTuple):
  """What is learned from one support set.

  Attributes:
    blocks: The weight blocks of the CNN, trained parts included.
    prototypes: The mean output of the CNN over the support images of each class, [K, outputs].
    statistics: The mean and the variance that each batch norm sees of the support images,
      [convolutions, 2, channels].
  """

  blocks: Any
  prototypes: Any
  statistics: Any


@dataclasses.dataclass(frozen=True)
class Trained:
  """A checkpoint that can be read, and the settings of its run.

  Attributes:
    prefix: The path of the checkpoint, without extension.
    settings: The settings of its run, without warm-up heads, which serve training only.
    image_shape: Height, width and channels of the images as the model sees them.
  """

  prefix: str
  settings: Settings
  image_shape: tuple[int, int, int]


def find(checkpoint: str | os.PathLike[str]) -> Trained:
  """Find a checkpoint and read its settings from the flags.json beside it.

  Args:
    checkpoint: Its path without .index, such as 'logs/model-20000'; or its directory, for the
      latest checkpoint in it. A leading `~` is the home directory.

  Raises:
    InputError: The checkpoint or flags.json cannot be read, or the model cannot classify.
  """
  prefix = checkpoints.locate(checkpoint, 'checkpoint')
  settings = flags_file.read_settings(os.path.dirname(prefix))
  if settings.loss.pretrain_shared:
    raise InputError(
      f'Checkpoint {prefix} holds pre-trained shared features only (pretrain_shared_feature). Use '
      'a checkpoint of the run that started from it.'
    )
  shapes = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
  kernel = next((shapes[name] for name in SEE_THE_IMAGE if name in shapes), None)
  if kernel is None:  # no flag holds the number of channels
    raise InputError(
      f'Checkpoint {prefix} was not written by this package: it has none of the variables '
      f'{", ".join(SEE_THE_IMAGE)}. Import a checkpoint of the original with '
      'hypertransformer convert checkpoint.'
    )
  side = settings.data.image_size
  model = dataclasses.replace(settings.model, warmup_heads='none')
  return Trained(prefix, dataclasses.replace(settings, model=model), (side, side, kernel[2]))


class Engine:
  """Runs a trained model on arrays of the caller, in place of episodes. It holds no task."""

  def __init__(self, trained: Trained, batch_statistics: str) -> None:
    """Build the graph with all that can be fetched, and restore the checkpoint.

    Args:
      trained: The checkpoint.
      batch_statistics: 'support' or 'query': the images whose statistics batch norm uses for
        queries.

    Raises:
      InputError: The checkpoint does not match the flags beside it, or the process is a fork of
        one that has used a learner.
    """
    _require_unforked()
    self._flag_values = trained.settings.flag_values
    self._closed = False
    with futures.ThreadPoolExecutor(1) as other:  # where no tf.debugging of the caller has effect
      other.submit(self._build, trained, batch_statistics == 'support').result()

  def _build(self, trained: Trained, frozen: bool) -> None:
    config = trained.settings.continual
    constant = config is not None and config.method == 'constant_protonet'
    with _sizes_are_ints(), tf.Graph().as_default():
      tf.set_random_seed(0)  # initial values are not used, but tf.config can require a seed
      model = HyperTransformer(trained.settings.model, trained.image_shape)
      self._images = tf.placeholder(tf.float32, [None, *trained.image_shape], 'images')
      self._labels = tf.placeholder(tf.int32, [None], 'labels')
      self._prototypes = tf.placeholder(
        tf.float32, [None, *model.plans[-1].output_shape], 'prototypes'
      )
      self._blocks = {
        plan.name: tf.placeholder(
          tf.float32, [plan.layout.num_blocks, plan.layout.block_size], plan.name
        )
        for plan in model.plans
        if plan.layout is not None and not constant
      }
      normalized = image_ops.normalise(self._images, trained.image_shape[0])
      support = Support(normalized, self._labels)
      weights, means = (
        continual.embed_task(model, support)
        if constant
        else continual.learn_task(model, support, before=None if config is None else self._blocks)
      )
      self._model = model
      self._statistics = tf.placeholder(
        tf.float32, [None, len(model.plans) - 1, 2, model.config.channels], 'statistics'
      )
      self._merged = continual.merged_statistics(self._statistics)[-1]
      classified = model.classify(
        normalized, model.with_blocks(self._blocks, self._merged if frozen else None)
      )
      self._outputs = classified.logits
      self._attention = shown.attention(support, weights)
      self._scores = continual.prototype_scores(self._outputs[None], self._prototypes[None])[0]
      self._cnn = {f'{use.layer}/{use.variable}': use.value for use in classified.uses}
      blocks = model.used_blocks(weights)
      seen = model.freeze(model.with_blocks(blocks), normalized).statistics
      self._learned = Learned(blocks, means, seen)
      self._variables = tf.global_variables()  # only now, since all of the above can create some
      checkpoints.require_match(trained.prefix, self._variables)
      self._session = tf.Session(config=sessions.config(tf.get_default_graph()))
      tf.train.Saver(self._variables).restore(self._session, trained.prefix)

  @property
  def generated_layers(self) -> list[str]:
    """The names of the layers that have weight blocks, in order; [] if none is generated."""
    return list(self._blocks)

  def no_blocks(self) -> BlockArrays:
    """Return the weight blocks before the first task: zeros."""
    return {name: np.zeros(x.shape.as_list(), np.float32) for name, x in self._blocks.items()}

  @property
  def no_statistics(self) -> np.ndarray:
    """Batch-norm statistics of no task, as for `outputs`."""
    return np.zeros([0, *self._statistics.shape.as_list()[1:]], np.float32)

  def learn(self, images: np.ndarray, labels: np.ndarray, before: BlockArrays) -> Learned:
    """Learn from one support set, in which all classes count equally.

    If they have different numbers of images, those of smaller classes are repeated until each class
    has as many as the largest one.

    Args:
      images: The support images, float32 [n, S, S, C], in 0..255.
      labels: Their labels, int [n], in 0..K-1.
      before: The weight blocks after the earlier tasks; {} if the model does not learn sequences
        of tasks.
    """
    rows = inputs.balanced(labels)
    fed = {self._images: images[rows], self._labels: labels[rows]}
    return self._run(self._learned, before, fed)

  def outputs(self, images: np.ndarray, blocks: BlockArrays, statistics: np.ndarray) -> np.ndarray:
    """Return the outputs of the CNN, float32 [n, outputs].

    Args:
      images: float32 [n, S, S, C], in 0..255.
      blocks: The weight blocks of the CNN.
      statistics: The batch-norm statistics of the support sets of one or more tasks, [tasks,
        convolutions, 2, channels], which are averaged. If the engine was opened for the statistics
        of queries, those of `images` are used instead.
    """
    return self._run(self._outputs, blocks, {self._images: images, self._statistics: statistics})

  def scores(
    self, images: np.ndarray, blocks: BlockArrays, statistics: np.ndarray, prototypes: np.ndarray
  ) -> np.ndarray:
    """Return minus the squared distances of the outputs to prototypes, float32 [n, classes].

    Args:
      images: As for `outputs`.
      blocks: As for `outputs`.
      statistics: As for `outputs`.
      prototypes: The prototypes, [classes, outputs].
    """
    fed = {self._images: images, self._statistics: statistics, self._prototypes: prototypes}
    return self._run(self._scores, blocks, fed)

  def weights(self, blocks: BlockArrays) -> dict[str, np.ndarray]:
    """Return the variables of the CNN as it uses them, by names such as 'layer_1/conv/kernel'."""
    return self._run(self._cnn, blocks, {})

  def named(self, statistics: np.ndarray) -> dict[str, np.ndarray]:
    """Return statistics of one task by names such as 'layer_1/batch_norm/mean' and '.../variance'.

    Args:
      statistics: [convolutions, 2, channels].
    """
    return {
      f'{plan.name}/batch_norm/{name}': value
      for plan, pair in zip(self._model.plans[:-1], statistics, strict=True)
      for name, value in zip(('mean', 'variance'), pair, strict=True)
    }

  def frozen(
    self,
    blocks: BlockArrays,
    statistics: np.ndarray,
    classes: Sequence[Hashable] | np.ndarray,
    support: np.ndarray | None = None,
    prototypes: np.ndarray | None = None,
  ) -> FrozenCnn:
    """Return the CNN as it is exported; for the arguments see `outputs` and `FrozenCnn`."""
    merged = self._run(self._merged, {}, {self._statistics: statistics})
    variables = self.weights(blocks) | self.named(merged)
    names = [str(name) for name in classes]
    return FrozenCnn(self._model.config, self._model.plans, variables, names, prototypes, support)

  def fingerprint(self) -> str:
    """Return a digest of the model's settings and variables.

    What one model has learned means nothing to another; fingerprints tell them apart.
    """
    values = flags_file.changed_model_flags(self._flag_values)
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    variables = self._run({variable.op.name: variable for variable in self._variables}, {}, {})
    for name, value in sorted(variables.items()):
      digest.update(name.encode() + value.tobytes())
    return digest.hexdigest()

  def attention(self, images: np.ndarray, labels: np.ndarray) -> dict[str, list[np.ndarray]]:
    """Return what the generator of each layer attends to; see `learn` and `shown.attention`.

    An image that is repeated gets the attention to all its copies.
    """
    rows = inputs.balanced(labels)
    fed = {self._images: images[rows], self._labels: labels[rows]}
    found = self._run(self._attention, self.no_blocks(), fed)
    copies = rows[:, None] == np.arange(len(labels))
    return {name: [block @ copies for block in blocks] for name, blocks in found.items()}

  def close(self) -> None:
    """Close the session; a call that another thread makes in the meantime ends with `CLOSED`."""
    self._closed = True
    self._session.close()

  def _run(self, fetches: Any, blocks: BlockArrays, fed: dict[tf.Tensor, np.ndarray]) -> Any:
    _require_unforked()
    try:
      fed = fed | {self._blocks[name]: value for name, value in blocks.items()}
      return self._session.run(fetches, fed)
    except (tf.errors.OpError, RuntimeError) as error:
      if self._closed:
        raise InputError(CLOSED) from error
      raise


def _require_unforked() -> None:
  """Raise InputError in a fork of a process that has used a learner: any session would hang."""
  process = _PROCESS.setdefault('id', os.getpid())
  require(
    process == os.getpid(),
    f'Process {os.getpid()} is a fork of process {process}, which has used a learner, and '
    'TensorFlow does not work in such a fork. Use learners only after the fork, in each process '
    "(gunicorn: no --preload), or start processes by multiprocessing's 'spawn'.",
  )


@contextlib.contextmanager
def _sizes_are_ints() -> Iterator[None]:
  """Make the sizes in a TensorShape ints for a time, which building a model relies on.

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
