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
from collections.abc import Iterator, Mapping

import tensorflow.compat.v1 as tf

from hypertransformer.model import cnn, features, generator
from hypertransformer.model.blocks import Shape
from hypertransformer.model.getter import LayerGetter, LayerWeights, VariableUse
from hypertransformer.model.layers import Noise
from hypertransformer.settings.model_config import ModelConfig

SCOPE = 'model'  # of all variables


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
  """The result of a support pass: what queries need, and what losses look at.

  Attributes:
    layers: The generated tensors by layer name ("layer_1", "head_1"); trained layers have none.
    shared_features: [Ns, shared_dim], or None without a shared extractor.
    uses: The variables that the CNN used in the support pass.
    last_inputs: What enters the last layer in the support pass, [Ns, h, w, c]; None for a CNN that
      was made from given blocks.
    statistics: The mean and the variance that the batch norm of each convolution uses,
      [convolutions, 2, channels]; None if it uses those of each batch.
  """

  layers: Mapping[str, LayerWeights]
  shared_features: tf.Tensor | None = None
  uses: tuple[VariableUse, ...] = ()
  last_inputs: tf.Tensor | None = None
  statistics: tf.Tensor | None = None


@dataclasses.dataclass(frozen=True)
class Classified:
  """What the CNN computed for a batch of n images.

  Attributes:
    logits: [n, K], or [n, embedding_units] if the CNN ends in an embedding.
    head_logits: Logits [n, K] of each warm-up head.
    activations: Output of each layer, by its name.
    uses: The variables that the CNN used.
    statistics: The mean and the variance [channels] that the batch norm of each convolution saw.
  """

  logits: tf.Tensor
  head_logits: list[tf.Tensor]
  activations: dict[str, tf.Tensor]
  uses: tuple[VariableUse, ...]
  statistics: list[list[tf.Tensor]]


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
    """Plan the CNN and check that everything fits; no tensor is built yet.

    Args:
      config: The model's settings.
      image_shape: Height, width and channels of the images, (H, W, C).

    Raises:
      InputError: There is no such CNN, the images are too small for it or for the shared extractor,
        or the number of heads does not divide a width of the transformer.
    """
    self.config = config
    self.plans = cnn.plan_layers(config, image_shape)
    self.heads = cnn.plan_heads(config, self.plans)
    features.check_shared(config.features, image_shape)
    self._features = {
      plan.name: features.plan_features(config, plan) for plan in (*self.plans, *self.heads)
    }
    for plan in (*self.plans, *self.heads):
      if plan.layout is not None:
        generator.token_widths(config, self._features[plan.name].width, plan.layout.block_size)

  def shared_features(self, images: tf.Tensor, noise: Noise | None = None) -> tf.Tensor | None:
    """Compute the shared features [n, shared_dim] of images [n, H, W, C]; None without them."""
    with tf.variable_scope(SCOPE, reuse=tf.AUTO_REUSE):
      return features.shared_features(images, self.config.features, noise)

  def generate(
    self,
    support: Support,
    noise: Noise | None = None,
    previous: Mapping[str, tf.Tensor] | None = None,
  ) -> CnnWeights:
    """Generate the CNN for a support set, layer after layer.

    Args:
      support: The support set.
      noise: Random numbers of a training step; None in evaluation, where nothing is dropped.
      previous: Weight blocks [B, b] by layer name from which to continue (docs/spec/continual.md,
        section 1); None stands for zeros.
    """
    layers: dict[str, LayerWeights] = {}
    uses: list[VariableUse] = []
    shared = self.shared_features(support.images, noise)
    z = support.images
    *convolutions, last = self.plans
    with tf.variable_scope(SCOPE, reuse=tf.AUTO_REUSE):
      for index, plan in enumerate(convolutions):
        layers |= self._generate_layer(plan, z, shared, support, noise, previous)
        with self._layer_scope(plan, layers) as getter:
          z, *_ = cnn.convolution(plan, z, self.config)
        uses += getter.uses
        if index < len(self.heads):
          layers |= self._generate_layer(self.heads[index], z, shared, support, noise)
      layers |= self._generate_layer(last, z, shared, support, noise, previous)
    weights = CnnWeights(layers, shared, tuple(uses), z)
    if self.config.add_trainable_weights and self.config.separate_query_variables:
      # Called for its variables only: the support pass has trained ones of its own for the logits,
      # and the L2 regularization counts them.
      _, weights = self.support_outputs(weights)
    return weights

  def support_outputs(self, weights: CnnWeights) -> tuple[tf.Tensor, CnnWeights]:
    """Run the last layer of the support pass that `generate` began, without dropout.

    Returns:
      [Ns, outputs], the output of the whole CNN for the support images, and the weights, whose
      `uses` include those of the last layer.
    """
    last = self.plans[-1]
    with (
      tf.variable_scope(SCOPE, reuse=tf.AUTO_REUSE),
      self._layer_scope(last, weights.layers) as getter,
    ):
      outputs = cnn.logits(last, weights.last_inputs, self.config, None)
    return outputs, dataclasses.replace(weights, uses=(*weights.uses, *getter.uses))

  def used_blocks(self, weights: CnnWeights) -> dict[str, tf.Tensor]:
    """Pack the tensors that the query pass uses, trained parts included, into weight blocks.

    Call `support_outputs` first: it creates the trained variables of the last layer.

    Returns:
      Blocks [B, b] by layer name.
    """
    blocks = {name: layer.blocks for name, layer in weights.layers.items()}
    if not self.config.add_trainable_weights:
      return blocks
    with tf.variable_scope(SCOPE, reuse=tf.AUTO_REUSE):
      for plan in (*self.plans, *self.heads):
        if plan.layout is not None and plan.name in blocks:
          with self._layer_scope(plan, weights.layers, query=True):
            used = {
              name: tf.get_variable(name, shape) for name, shape in plan.layout.shapes.items()
            }
          blocks[plan.name] = plan.layout.pack(used)
    return blocks

  def with_blocks(
    self, blocks: Mapping[str, tf.Tensor], statistics: tf.Tensor | None = None
  ) -> CnnWeights:
    """Make a CNN from given weight blocks, which are used as they are: nothing trained is added.

    Args:
      blocks: [B, b] by layer name. A layer without blocks is a trained one.
      statistics: As in `CnnWeights`.
    """
    return CnnWeights(
      {
        plan.name: LayerWeights(plan.layout, blocks[plan.name], add_trained=False)
        for plan in self.plans
        if plan.layout is not None and plan.name in blocks
      },
      statistics=statistics,
    )

  def freeze(self, weights: CnnWeights, images: tf.Tensor) -> CnnWeights:
    """Return the CNN with the batch-norm statistics of these support images, [n, H, W, C].

    Its answer to an image then depends on no other image. The images are also seen shifted by a
    tenth of their side, which comes closer to the statistics of many images (docs/learners.md).
    """
    shift = round(0.1 * images.shape[1])
    moves = ((0, 0), (shift, 0), (-shift, 0), (0, shift), (0, -shift))
    images = tf.concat([tf.roll(images, move, (1, 2)) for move in moves], axis=0)
    seen = self.classify(images, weights).statistics
    return dataclasses.replace(weights, statistics=tf.stack([tf.stack(each) for each in seen]))

  def classify(
    self, images: tf.Tensor, weights: CnnWeights, noise: Noise | None = None
  ) -> Classified:
    """Run the CNN on one batch of images, whose statistics its batch norms use unless frozen.

    Args:
      images: float32 [n, H, W, C].
      weights: The generated CNN.
      noise: Random numbers for the dropout before the logits; None for no dropout.
    """
    uses: list[VariableUse] = []
    head_logits = []
    activations = {}
    statistics = []
    x = images
    with tf.variable_scope(SCOPE, reuse=tf.AUTO_REUSE):
      for index, plan in enumerate(self.plans):
        with self._layer_scope(plan, weights.layers, query=True) as getter:
          if plan.is_logits:
            x = cnn.logits(plan, x, self.config, noise)
          else:
            frozen = None if weights.statistics is None else weights.statistics[index]
            x, *seen = cnn.convolution(plan, x, self.config, frozen)
            statistics.append(seen)
        uses += getter.uses
        activations[plan.name] = x
        if index < len(self.heads):
          head = self.heads[index]
          with self._layer_scope(head, weights.layers, query=True) as getter:
            head_logits.append(cnn.logits(head, x, self.config, noise))
          uses += getter.uses
    return Classified(x, head_logits, activations, tuple(uses), statistics)

  def _generate_layer(
    self,
    plan: cnn.LayerPlan,
    z: tf.Tensor,
    shared: tf.Tensor | None,
    support: Support,
    noise: Noise | None,
    previous: Mapping[str, tf.Tensor] | None = None,
  ) -> dict[str, LayerWeights]:
    """Generate one layer from z, the activations that enter it.

    Returns:
      The layer's weights by its name; nothing for a trained layer.
    """
    if plan.layout is None:
      return {}
    before = None if previous is None else previous[plan.name]
    config = self.config.features
    add_trained = self.config.add_trainable_weights and not (
      plan.is_logits and self.config.add_trainable_weights_to == 'convolutions'
    )
    with tf.variable_scope(plan.generator):
      seen = features.layer_features(self._features[plan.name], z, shared, config, noise)
      if config.normalization == 'support':
        seen = features.normalized(seen, support.mask)
      blocks, attention = generator.generate_blocks(
        plan.layout, seen, support.labels, support.mask, self.config, noise, before
      )
      if add_trained and self.config.generated_weight_scale != 1.0:
        blocks *= self.config.generated_weight_scale
      if plan.is_logits and self.config.prototype_logits:
        inputs = cnn.logits_inputs(plan, z)
        blocks += generator.prototype_blocks(
          inputs, support.labels, support.mask, self.config.num_labels
        )
    return {plan.name: LayerWeights(plan.layout, blocks, add_trained, attention)}

  @contextlib.contextmanager
  def _layer_scope(
    self, plan: cnn.LayerPlan, layers: Mapping[str, LayerWeights], query: bool = False
  ) -> Iterator[LayerGetter]:
    """Open the variable scope of a CNN layer, in which its getter returns generated tensors."""
    with tf.variable_scope('cnn') as scope:
      query = query and self.config.separate_query_variables
      trained_scope = f'{scope.name}_query' if query else scope.name
      getter = LayerGetter(plan.name, scope.name, layers.get(plan.name), trained_scope)
      with tf.variable_scope(plan.name, custom_getter=getter):
        yield getter
