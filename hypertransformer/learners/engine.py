"""Opens a checkpoint and runs its model on arrays, in a graph and a session of its own."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.data import files
from hypertransformer.episodes import image_ops
from hypertransformer.errors import InputError
from hypertransformer.model import continual
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
_CLOSED = 'The learner is closed. Open a new one, and use it before the end of its `with`.'

BlockArrays = dict[str, np.ndarray]  # the weight blocks [B, b] of each generated layer, by its name


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
  path = str(files.expanded(checkpoint)) if os.fspath(checkpoint) else ''
  prefix = checkpoints.locate(path, 'checkpoint')
  settings = flags_file.read_settings(os.path.dirname(prefix))
  if settings.loss.pretrain_shared:
    raise InputError(
      f'Checkpoint {prefix} holds pre-trained shared features only (pretrain_shared_feature). Use '
      'a checkpoint of the run that started from it.'
    )
  model = dataclasses.replace(settings.model, warmup_heads='none')
  side = settings.data.image_size
  return Trained(
    prefix, dataclasses.replace(settings, model=model), (side, side, _channels(prefix))
  )


def _channels(prefix: str) -> int:
  """Return the number of channels of the images of training, which no flag holds."""
  shapes = tf.train.load_checkpoint(prefix).get_variable_to_shape_map()
  for name in SEE_THE_IMAGE:
    if name in shapes:
      return shapes[name][2]
  raise InputError(
    f'Checkpoint {prefix} was not written by this package: it has none of the variables '
    f'{", ".join(SEE_THE_IMAGE)}. Import a checkpoint of the original with '
    'utils/convert_checkpoint.py.'
  )


@dataclasses.dataclass(frozen=True)
class Learned:
  """The result of learning from a support set.

  Attributes:
    blocks: The weight blocks of the CNN, trained parts included.
    means: The mean output of the CNN over the support images of each class, [K, outputs].
  """

  blocks: BlockArrays
  means: np.ndarray


@dataclasses.dataclass(frozen=True)
class _Graph:
  """The session of a model, and the tensors to feed and to fetch.

  Attributes:
    session: The session, with the variables restored.
    images: float32 [n, S, S, C], in 0..255, of a support set or of queries.
    labels: int32 [n], those of a support set.
    prototypes: [classes, outputs].
    blocks: The weight blocks of each generated layer.
    learned: The new weight blocks, and the mean outputs of the classes.
    outputs: The outputs of the CNN for the images.
    scores: Those of the images for each prototype.
    cnn: The variables of the CNN by name.
    variables: Those of the model, as in the checkpoint.
  """

  session: tf.Session
  images: tf.Tensor
  labels: tf.Tensor
  prototypes: tf.Tensor
  blocks: dict[str, tf.Tensor]
  learned: tuple[dict[str, tf.Tensor], tf.Tensor]
  outputs: tf.Tensor
  scores: tf.Tensor
  cnn: dict[str, tf.Tensor]
  variables: list[tf.Variable]


class Engine:
  """Runs a trained model on arrays of the caller, in place of episodes. It holds no task."""

  def __init__(self, trained: Trained) -> None:
    """Build the graph and restore the checkpoint.

    Raises:
      InputError: The checkpoint does not match the flags beside it.
    """
    self._trained = trained
    # None when closed: a closed learner that is kept keeps no graph.
    self._graph: _Graph | None = None
    with _sizes_are_ints(), tf.Graph().as_default():
      self._graph = _build(trained)

  @property
  def generated_layers(self) -> list[str]:
    """The names of the layers that have weight blocks, in order; [] if none is generated."""
    return list(self._open().blocks)

  def no_blocks(self) -> BlockArrays:
    """Return the weight blocks before the first task: zeros."""
    return {
      name: np.zeros(block.shape.as_list(), np.float32)
      for name, block in self._open().blocks.items()
    }

  def learn(self, images: np.ndarray, labels: np.ndarray, before: BlockArrays) -> Learned:
    """Learn from one support set.

    Args:
      images: The support images, float32 [n, S, S, C], in 0..255.
      labels: Their labels, int [n], in 0..K-1.
      before: The weight blocks after the earlier tasks; {} if the model does not learn sequences
        of tasks.
    """
    graph = self._open()
    return Learned(
      *self._run(graph, graph.learned, before, {graph.images: images, graph.labels: labels})
    )

  def outputs(self, images: np.ndarray, blocks: BlockArrays) -> np.ndarray:
    """Return the outputs of the CNN with these weight blocks, float32 [n, outputs].

    Batch norm uses the statistics of these images, float32 [n, S, S, C], in 0..255.
    """
    graph = self._open()
    return self._run(graph, graph.outputs, blocks, {graph.images: images})

  def scores(self, images: np.ndarray, blocks: BlockArrays, prototypes: np.ndarray) -> np.ndarray:
    """Return minus the squared distances of the outputs to prototypes, float32 [n, classes]."""
    graph = self._open()
    fed = {graph.images: images, graph.prototypes: prototypes}
    return self._run(graph, graph.scores, blocks, fed)

  def weights(self, blocks: BlockArrays) -> dict[str, np.ndarray]:
    """Return the variables of the CNN as it uses them, by names such as 'layer_1/conv/kernel'."""
    graph = self._open()
    return self._run(graph, graph.cnn, blocks)

  def fingerprint(self) -> str:
    """Return a digest of the model's settings and variables.

    What one model has learned means nothing to another; fingerprints tell them apart.
    """
    values = flags_file.changed_model_flags(self._trained.settings.flag_values)
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode())
    graph = self._open()
    variables = self._run(graph, {variable.op.name: variable for variable in graph.variables})
    for name, value in sorted(variables.items()):
      digest.update(name.encode() + value.tobytes())
    return digest.hexdigest()

  def close(self) -> None:
    """Close the session and release the graph. It may be called several times.

    A call that another thread makes in the meantime ends with the error that the learner is closed.
    """
    graph, self._graph = self._graph, None
    if graph is not None:
      graph.session.close()

  def _open(self) -> _Graph:
    """Return the graph; raise InputError if the learner is closed."""
    if self._graph is None:
      raise InputError(_CLOSED)
    return self._graph

  def _run(
    self,
    graph: _Graph,
    fetches: Any,
    blocks: Mapping[str, np.ndarray] | None = None,
    fed: Mapping[tf.Tensor, np.ndarray] | None = None,
  ) -> Any:
    fed = {**(fed or {}), **{graph.blocks[name]: value for name, value in (blocks or {}).items()}}
    try:
      return graph.session.run(fetches, fed)
    except (tf.errors.OpError, RuntimeError) as error:
      if self._graph is None:  # closed in the meantime, by another thread
        raise InputError(_CLOSED) from error
      raise


def _build(trained: Trained) -> _Graph:
  """Build everything that can be fetched in the default graph, and restore the checkpoint.

  Raises InputError if the checkpoint does not match the flags beside it.
  """
  config = trained.settings.continual
  constant = config is not None and config.method == 'constant_protonet'
  model = HyperTransformer(trained.settings.model, trained.image_shape)
  images = tf.placeholder(tf.float32, [None, *trained.image_shape], 'images')
  labels = tf.placeholder(tf.int32, [None], 'labels')
  prototypes = tf.placeholder(tf.float32, [None, *model.plans[-1].output_shape], 'prototypes')
  blocks = {
    plan.name: tf.placeholder(
      tf.float32, [plan.layout.num_blocks, plan.layout.block_size], plan.name
    )
    for plan in model.plans
    if plan.layout is not None and not constant
  }
  normalized = image_ops.normalise(images, trained.image_shape[0])
  support = Support(normalized, labels)
  weights, means = (
    continual.embed_task(model, support)
    if constant
    else continual.learn_task(model, support, before=None if config is None else blocks)
  )
  classified = model.classify(normalized, model.with_blocks(blocks))
  scores = continual.prototype_scores(classified.logits[None], prototypes[None])[0]
  learned = model.used_blocks(weights), means
  variables = tf.global_variables()  # only now, since all of the above can create some
  checkpoints.require_match(
    trained.prefix,
    variables,
    f'and the {flags_file.FLAGS_FILE} beside it are not of the same model, or not of this '
    'version of the package',
    'Take both from one log directory.',
  )
  session = tf.Session(config=sessions.config(tf.get_default_graph()))
  tf.train.Saver(variables).restore(session, trained.prefix)
  return _Graph(
    session=session,
    images=images,
    labels=labels,
    prototypes=prototypes,
    blocks=blocks,
    learned=learned,
    outputs=classified.logits,
    scores=scores,
    cnn={f'{use.layer}/{use.variable}': use.value for use in classified.uses},
    variables=variables,
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
