"""The HyperTransformer (arXiv 2201.04182, section 3; spec/model.md section 1), step by step:

z = support images; s = shared features
for each layer l of the CNN:
    w_l = generator_l(features_l(z), s, labels)     weight blocks
    z   = cnn_layer_l(z; w_l)                       the next layer sees this one's activations
logits = cnn(query images; w_1 .. w_L)
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
from hypertransformer.model.noise import Noise, dropout
from hypertransformer.settings.model_config import ModelConfig

SCOPE = 'model'
LOGITS_FEATURE_KERNEL = 3


@dataclasses.dataclass(frozen=True)
class Support:
  """images float32 [Ns, H, W, C] in [-1, 1); labels int [Ns], the last (K, or support_classes) = no
  label; mask float [Ns], 1 = ignore, or None.
  """

  images: tf.Tensor
  labels: tf.Tensor
  mask: tf.Tensor | None = None


@dataclasses.dataclass(frozen=True)
class CnnWeights:
  """Everything a support set gave: what the query pass needs, and what losses and summaries look
  at.

  layers: generated tensors by layer name ('layer_1', 'head_1'); a trained layer has none.
  shared_features: [Ns, shared_dim] or None. rows: what the getter gave to the support pass.
    last_inputs
  [Ns, h, w, c]: what enters the last layer in the support pass.
  """

  layers: dict[str, LayerWeights]
  shared_features: tf.Tensor | None
  rows: list[Row]
  last_inputs: tf.Tensor | None = None


@dataclasses.dataclass(frozen=True)
class Classified:
  """logits [Nq, K], or [Nq, embedding_units]; head_logits: those of each warm-up head; activations
  by layer name; the getter's rows.
  """

  logits: tf.Tensor
  head_logits: list[tf.Tensor]
  activations: dict[str, tf.Tensor]
  rows: list[Row]


class HyperTransformer:
  """Generates a CNN from a support set and runs it. All variables live under `model/` and are
  shared by all calls.
  """

  def __init__(self, config: ModelConfig, image_shape: Shape) -> None:
    """image_shape: (H, W, C) as the CNN sees it. Raises InputError if the CNN cannot take it."""
    self.config = config
    self.plans = cnn.plan_layers(config, image_shape)
    self.heads = cnn.plan_heads(config, self.plans)
    features.check_shared(config.features, image_shape)
    for plan in (*self.plans, *self.heads):
      if plan.layout is not None:
        generator.token_widths(config, self._feature_width(plan), plan.layout.block_size)

  def shared_features(self, images: tf.Tensor, noise: Noise | None = None) -> tf.Tensor | None:
    """images [n, H, W, C] -> [n, shared_dim], or None without a shared extractor."""
    with tf.variable_scope(SCOPE, reuse=tf.AUTO_REUSE):
      return features.shared_features(images, self.config.features, noise)

  def generate(
    self,
    support: Support,
    noise: Noise | None = None,
    previous: Mapping[str, tf.Tensor] | None = None,
  ) -> CnnWeights:
    """The CNN of one support set. noise: given in training, None in evaluation (no dropout).
    previous: blocks [B, b] by layer name, from which it is to go on (spec/continual.md); None is
    the same as zeros.
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
      # The support pass has trained variables of its own for the logits too: the L2 regularisation
      # is over them.
      self.support_outputs(weights)
    return weights

  def support_outputs(self, weights: CnnWeights) -> tf.Tensor:
    """[Ns, outputs]: the whole CNN on the support images that `generate` made it from, without
    dropout.
    """
    last = self.plans[-1]
    with (
      tf.variable_scope(SCOPE, reuse=tf.AUTO_REUSE),
      self._layer_scope(last, weights, weights.rows),
    ):
      return cnn.logits(last, weights.last_inputs, self.config, None)

  def used_blocks(self, weights: CnnWeights) -> dict[str, tf.Tensor]:
    """[B, b] by layer name: the blocks of the tensors that the query pass uses, trained parts
    included.
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
    """The CNN of given weight blocks [B, b] by layer name, used as they are: nothing trained is
    added. A layer that is not among them is a trained one.
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
    """query images [Nq, H, W, C] -> logits, with the batch statistics of these images."""
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
    if plan.layout is None:
      return
    before = None if previous is None else previous[plan.name]
    with tf.variable_scope(plan.generator):
      seen = self._layer_features(plan, z, weights.shared_features, noise)
      blocks = generator.generate_blocks(
        plan.layout, seen, support.labels, support.mask, self.config, noise, before
      )
      if self.config.generated_weight_scale != 1.0:
        blocks *= self.config.generated_weight_scale
    weights.layers[plan.name] = LayerWeights(plan.layout, blocks, self.config.add_trainable_weights)

  def _layer_features(
    self, plan: cnn.LayerPlan, z: tf.Tensor, shared: tf.Tensor | None, noise: Noise | None
  ) -> tf.Tensor:
    """features_l [Ns, F]: [flattened | local | shared] of the activations z that enter the layer."""
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

  def _feature_width(self, plan: cnn.LayerPlan) -> int:
    """F of a layer."""
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
    """The variable scope of a CNN layer, with the getter that hands out its generated tensors."""
    with tf.variable_scope('cnn') as scope:
      own_scope = f'{scope.name}_query' if query and self.config.separate_query_variables else None
      getter = LayerGetter(plan.name, scope.name, weights.layers.get(plan.name), own_scope, rows)
      with tf.variable_scope(plan.name, custom_getter=getter):
        yield
