"""The HyperTransformer for a single task, after section 3 of arXiv 2201.04182.

See docs/spec/model.md, section 1. In short:

    z = support images
    s = shared features of the support images
    for each layer l of the CNN:
        w_l = generator_l(features_l(z), s, labels)    its weight blocks
        z   = layer_l(z; w_l)                          what the next layer sees
    logits = cnn(query images; w_1, ..., w_L)
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping

import tensorflow.compat.v1 as tf

from hypertransformer.model import cnn, features, generator
from hypertransformer.model.blocks import Shape
from hypertransformer.model.getter import LayerGetter, LayerWeights, Row
from hypertransformer.model.layers import Noise, dropout
from hypertransformer.model.transformer import Heads
from hypertransformer.settings.model_config import ModelConfig

SCOPE = 'model'  # of all variables
LOGITS_FEATURE_KERNEL = 3  # side of the kernel of a logits layer's local features, in pixels


@dataclasses.dataclass(frozen=True)
class Support:
  """The support set of a task.

  Attributes:
    images: float32 [Ns, H, W, C], from -1 to 1.
    labels: Integers [Ns]. K, or config.support_classes where that is set, means "no label".
    mask: float32 [Ns], 1 for a sample that the generators must ignore; None to use all.
  """

  images: tf.Tensor
  labels: tf.Tensor
  mask: tf.Tensor | None = None


@dataclasses.dataclass(frozen=True)
class CnnWeights:
  """All that was computed from a support set: what queries need, and what losses look at.

  Attributes:
    layers: The generated tensors by layer name ("layer_1", "head_1"); trained layers have none.
    shared_features: [Ns, shared_dim], or None without a shared extractor.
    rows: What the getter gave out in the support pass.
    last_inputs: What enters the last layer in the support pass, [Ns, h, w, c]; None for a CNN that
      was made from given blocks.
    attention: For each generated layer, by its name, the attention weights of its generator: see
      generator.generate_blocks.
  """

  layers: dict[str, LayerWeights]
  shared_features: tf.Tensor | None
  rows: list[Row]
  last_inputs: tf.Tensor | None = None
  attention: dict[str, list[Heads]] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Classified:
  """What the CNN computed for a batch of n images.

  Attributes:
    logits: [n, K], or [n, embedding_units] if the CNN ends in an embedding.
    head_logits: Logits [n, K] of each warm-up head.
    activations: Output of each layer, by its name.
    rows: What the getter gave out in this pass.
  """

  logits: tf.Tensor
  head_logits: list[tf.Tensor]
  activations: dict[str, tf.Tensor]
  rows: list[Row]


class HyperTransformer:
  """The model: it generates a CNN from a support set, and runs that CNN on images.

  All its variables are under `model/`. Every call uses the same ones, and so does every other model
  in the same graph.

  Attributes:
    config: The model's settings.
    plans: The layers of the CNN, the logits layer last.
    heads: The warm-up heads.
  """

  def __init__(self, config: ModelConfig, image_shape: Shape) -> None:
    """Plans the CNN and checks that everything fits; no tensor is built yet.

    Args:
      config: The model's settings.
      image_shape: Height, width and channels of the images, (H, W, C).

    Raises:
      InputError: The images are too small for the CNN or for the shared extractor, or the heads do
        not divide a width of the transformer.
    """
    self.config = config
    self.plans = cnn.plan_layers(config, image_shape)
    self.heads = cnn.plan_heads(config, self.plans)
    features.check_shared(config.features, image_shape)
    for plan in (*self.plans, *self.heads):
      if plan.layout is not None:
        generator.token_widths(config, self.feature_width(plan), plan.layout.block_size)

  def shared_features(self, images: tf.Tensor, noise: Noise | None = None) -> tf.Tensor | None:
    """Computes the shared features [n, shared_dim] of images [n, H, W, C]; None without an
    extractor.
    """
    with tf.variable_scope(SCOPE, reuse=tf.AUTO_REUSE):
      return features.shared_features(images, self.config.features, noise)

  def generate(
    self,
    support: Support,
    noise: Noise | None = None,
    previous: Mapping[str, tf.Tensor] | None = None,
  ) -> CnnWeights:
    """Generates the CNN for a support set, layer after layer.

    Args:
      support: The support set.
      noise: Random numbers of a training step; None in evaluation, where nothing is dropped.
      previous: Weight blocks [B, b] by layer name from which to go on (docs/spec/continual.md,
        section 1); None stands for zeros.
    """
    weights = CnnWeights({}, self.shared_features(support.images, noise), [])
    z = support.images
    *convolutions, last = self.plans
    with tf.variable_scope(SCOPE, reuse=tf.AUTO_REUSE):
      for index, plan in enumerate(convolutions):
        self._generate_layer(plan, z, support, weights, noise, previous)
        with self._layer_scope(plan, weights, weights.rows):
          z = cnn.convolution(plan, z, self.config)
        if index < len(self.heads):
          self._generate_layer(self.heads[index], z, support, weights, noise)
      self._generate_layer(last, z, support, weights, noise, previous)
    weights = dataclasses.replace(weights, last_inputs=z)
    if self.config.add_trainable_weights and self.config.separate_query_variables:
      # Called for its variables only: the support pass has trained ones of its own for the logits,
      # and the L2 regularisation counts them.
      self.support_outputs(weights)
    return weights

  def support_outputs(self, weights: CnnWeights) -> tf.Tensor:
    """Runs the last layer of the support pass that `generate` began, without dropout.

    Returns:
      [Ns, outputs], what the whole CNN gives for the support images.
    """
    last = self.plans[-1]
    with (
      tf.variable_scope(SCOPE, reuse=tf.AUTO_REUSE),
      self._layer_scope(last, weights, weights.rows),
    ):
      return cnn.logits(last, weights.last_inputs, self.config, None)

  def used_blocks(self, weights: CnnWeights) -> dict[str, tf.Tensor]:
    """Packs the tensors that the query pass uses, trained parts included, into weight blocks.

    Call `support_outputs` first: it makes the trained variables of the last layer.

    Returns:
      Blocks [B, b] by layer name.
    """
    blocks = {name: layer.blocks for name, layer in weights.layers.items()}
    if not self.config.add_trainable_weights:
      return blocks
    with tf.variable_scope(SCOPE, reuse=tf.AUTO_REUSE):
      for plan in (*self.plans, *self.heads):
        if plan.layout is not None and plan.name in blocks:
          with self._layer_scope(plan, weights, [], query=True):
            used = {
              name: tf.get_variable(name, shape) for name, shape in plan.layout.shapes.items()
            }
          blocks[plan.name] = plan.layout.pack(used)
    return blocks

  def with_blocks(self, blocks: Mapping[str, tf.Tensor]) -> CnnWeights:
    """Makes a CNN from given weight blocks, which are used as they are: nothing trained is added.

    Args:
      blocks: [B, b] by layer name. A layer that is not among them is a trained one.
    """
    return CnnWeights(
      {
        plan.name: LayerWeights(plan.layout, blocks[plan.name], False)
        for plan in self.plans
        if plan.layout is not None and plan.name in blocks
      },
      None,
      [],
    )

  def classify(
    self, images: tf.Tensor, weights: CnnWeights, noise: Noise | None = None
  ) -> Classified:
    """Runs the CNN on one batch of images, whose statistics its batch norms use.

    Args:
      images: float32 [n, H, W, C].
      weights: The generated CNN.
      noise: Random numbers for the dropout before the logits; None for no dropout.
    """
    rows: list[Row] = []
    head_logits = []
    activations = {}
    x = images
    with tf.variable_scope(SCOPE, reuse=tf.AUTO_REUSE):
      for index, plan in enumerate(self.plans):
        with self._layer_scope(plan, weights, rows, query=True):
          x = (
            cnn.logits(plan, x, self.config, noise)
            if plan.is_logits
            else cnn.convolution(plan, x, self.config)
          )
        activations[plan.name] = x
        if index < len(self.heads):
          with self._layer_scope(self.heads[index], weights, rows, query=True):
            head_logits.append(cnn.logits(self.heads[index], x, self.config, noise))
    return Classified(x, head_logits, activations, rows)

  def _generate_layer(
    self,
    plan: cnn.LayerPlan,
    z: tf.Tensor,
    support: Support,
    weights: CnnWeights,
    noise: Noise | None,
    previous: Mapping[str, tf.Tensor] | None = None,
  ) -> None:
    """Generates one layer from z, the activations that enter it, and adds it to `weights`."""
    if plan.layout is None:
      return
    before = None if previous is None else previous[plan.name]
    looks = weights.attention.setdefault(plan.name, [])
    with tf.variable_scope(plan.generator):
      seen = self._layer_features(plan, z, weights.shared_features, noise)
      if self.config.features.normalization == 'support':
        seen = features.normalized(seen, support.mask)
      blocks = generator.generate_blocks(
        plan.layout, seen, support.labels, support.mask, self.config, noise, before, looks
      )
      if self.config.generated_weight_scale != 1.0:
        blocks *= self.config.generated_weight_scale
    weights.layers[plan.name] = LayerWeights(plan.layout, blocks, self.config.add_trainable_weights)

  def _layer_features(
    self, plan: cnn.LayerPlan, z: tf.Tensor, shared: tf.Tensor | None, noise: Noise | None
  ) -> tf.Tensor:
    """Computes a layer's features [Ns, F] from z, the activations that enter it.

    They are [flattened activations | local features | shared features], as far as flags ask for
    them.
    """
    parts = []
    if self._sees_activations(plan):
      parts.append(tf.reshape(z, [-1, math.prod(plan.input_shape)]))
    if self._local_convolutions(plan):
      local = features.local_features(
        z,
        self._local_channels(plan),
        self._local_kernel(plan),
        self._local_depth(plan),
        nonlinear=self.config.features.nonlinear and plan.is_logits,
      )
      parts.append(dropout(local, self.config.features.dropout, noise))
    if shared is not None:
      parts.append(shared)
    return tf.concat(parts, axis=-1)

  def feature_width(self, plan: cnn.LayerPlan) -> int:
    """Returns F, the number of features that the generator of a layer sees of a support image."""
    width = len(self._local_convolutions(plan)) * self._local_channels(plan)
    if self._sees_activations(plan):
      width += math.prod(plan.input_shape)
    return width + (self.config.features.shared_dim if self.config.features.has_shared else 0)

  def _sees_activations(self, plan: cnn.LayerPlan) -> bool:
    return plan.is_logits and plan.flatten and self.config.features.logits_extractor != 'default'

  def _local_convolutions(self, plan: cnn.LayerPlan) -> list[features.LocalConvolution]:
    config = self.config.features
    if config.layerwise == 0 or (
      self._sees_activations(plan) and config.logits_extractor == 'passthrough'
    ):
      return []
    return features.local_convolutions(
      min(plan.input_shape[:2]), self._local_kernel(plan), self._local_depth(plan)
    )

  def _local_channels(self, plan: cnn.LayerPlan) -> int:
    layerwise = self.config.features.layerwise
    if layerwise is not None:
      return layerwise
    return (
      plan.input_shape[-1] if plan.is_logits else max(plan.input_shape[-1], plan.output_shape[-1])
    )

  def _local_kernel(self, plan: cnn.LayerPlan) -> int:
    return LOGITS_FEATURE_KERNEL if plan.is_logits else self.config.kernel_size

  def _local_depth(self, plan: cnn.LayerPlan) -> int:
    return 1 if plan.is_logits else 2

  @contextlib.contextmanager
  def _layer_scope(
    self, plan: cnn.LayerPlan, weights: CnnWeights, rows: list[Row], query: bool = False
  ) -> Iterator[None]:
    """Opens the variable scope of a CNN layer, where its generated tensors are given out."""
    with tf.variable_scope('cnn') as scope:
      trained_scope = (
        f'{scope.name}_query' if query and self.config.separate_query_variables else None
      )
      getter = LayerGetter(
        plan.name, scope.name, weights.layers.get(plan.name), trained_scope, rows
      )
      with tf.variable_scope(plan.name, custom_getter=getter):
        yield
