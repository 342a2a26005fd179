"""What the HyperTransformer and the CNN that it generates are made of.

The letters K, Ns, E, F, D, B and b are explained in config.py.
"""

from __future__ import annotations

import dataclasses

from hypertransformer.errors import require
from hypertransformer.settings.checks import fraction, not_negative, one_of, positive

CNN_NAMES = ('3-layer', '4-layer', 'maxpool-4-layer')
# A size of the transformer up to this is a fraction of D, a larger one is the width itself.
LARGEST_FRACTION = 3.0
# Those whose logits layer sees all activations, not their spatial mean.
FLATTENING_CNNS = ('maxpool-4-layer',)
FEATURE_NORMALIZATIONS = ('none', 'support')
SHARED_EXTRACTORS = (
  'none',
  '2-layer',
  '3-layer',
  '4-layer',
  '2-layer-bn',
  '3-layer-bn',
  '4-layer-bn',
)


@dataclasses.dataclass(frozen=True)
class TransformerConfig:
  """The transformer of a generator (docs/spec/model.md, sections 2 and 3).

  A width (*_dim) counts all heads together. A value of at most 3 is a fraction of the token width
  D; a larger value is the width itself.

  Attributes:
    num_layers: blocks of the encoder, and as many of the decoder if there is one.
    heads: parallel parts of every attention.
    key_query_dim: width of the queries and of the keys.
    value_dim: width of the values.
    inner_dim: width of the inner layer of the feed-forward parts; 0 or less if there are none.
    activation: what makes attention weights of the attention's logits: 'softmax' or 'sigmoid'.
    nonlinearity: of the feed-forward parts: 'relu', 'gelu' or 'lrelu' (leaky relu).
    skip_last_nonlinearity: whether the last encoder block has no nonlinearity; without effect if
      there is a decoder.
    use_decoder: whether a decoder follows the encoder; the separate generator always has one.
    dropout_rate: share of numbers that is dropped in every block, in training only.

  Raises:
    InputError: a field is out of range.
  """

  num_layers: int = 4
  heads: int = 4
  key_query_dim: float = 1.0
  value_dim: float = 1.0
  inner_dim: float = 1.0
  activation: str = 'softmax'
  nonlinearity: str = 'relu'
  skip_last_nonlinearity: bool = False
  use_decoder: bool = False
  dropout_rate: float = 0.0

  def __post_init__(self) -> None:
    positive(
      self,
      num_layers='num_layers',
      heads='heads',
      key_query_dim='lw_key_query_dim',
      value_dim='lw_value_dim',
    )
    fraction(self, dropout_rate='dropout_rate')
    one_of('transformer_activation', self.activation, ('softmax', 'sigmoid'))
    one_of('transformer_nonlinearity', self.nonlinearity, ('relu', 'gelu', 'lrelu'))


@dataclasses.dataclass(frozen=True)
class FeatureConfig:
  """Which features of a support image the generators see (docs/spec/model.md, section 4).

  Shared features are computed once from the image, for all generators. Local features belong to
  one CNN layer and are computed from the activations that enter it.

  Attributes:
    shared_extractor: the convolutions that compute the shared features, or 'none'. The variants
      '-bn', with a batch norm, can only be chosen in Python; as in the original, no flag does.
    shared_dim: channels of these convolutions, and so the number of shared features.
    shared_padding: their padding, 'valid' or 'same'.
    shared_dropout: share of the shared features that is dropped in training.
    layerwise: channels of the convolutions that compute local features; 0 if there are none. None
      takes, for a convolution of the CNN, the larger of its input and output channels, and for a
      logits layer its input channels.
    nonlinear: whether the features of a logits layer are taken after the relu and not before.
    logits_extractor: what the generator of the final logits layer sees of its input: local features
      ('default'), the flattened activations ('passthrough'), or both ('mix').
    dropout: share of the local features that is dropped in training.
    normalization: 'support' gives every feature mean 0 and deviation 1 over the support set; 'none'
      leaves them, as the original does.

  Raises:
    InputError: a field is out of range, or there would be no features at all.
  """

  shared_extractor: str = 'none'
  shared_dim: int = 32
  shared_padding: str = 'valid'
  shared_dropout: float = 0.0
  layerwise: int | None = None
  nonlinear: bool = False
  logits_extractor: str = 'default'
  dropout: float = 0.0
  normalization: str = 'none'

  def __post_init__(self) -> None:
    positive(self, shared_dim='shared_features_dim')
    fraction(self, shared_dropout='shared_fe_dropout', dropout='fe_dropout')
    one_of('shared_feature_extractor', self.shared_extractor, SHARED_EXTRACTORS)
    one_of('shared_feature_extractor_padding', self.shared_padding, ('valid', 'same'))
    one_of('feature_normalization', self.normalization, FEATURE_NORMALIZATIONS)
    one_of('logits_feature_extractor', self.logits_extractor, ('default', 'passthrough', 'mix'))
    require(
      self.layerwise is None or self.layerwise >= 0,
      f'num_layerwise_features is {self.layerwise}; it must be 0 or more (or empty for the '
      'default).',
    )
    require(
      self.has_shared or self.layerwise != 0,
      'num_layerwise_features=0 with shared_feature_extractor=none leaves no features at all: '
      'set one of the two.',
    )

  @property
  def has_shared(self) -> bool:
    """Whether there are shared features."""
    return self.shared_extractor != 'none'


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """The HyperTransformer and the CNN that it generates (docs/spec/model.md, sections 2 to 5).

  Attributes:
    num_labels: K, the classes of a task.
    cnn_name: the CNN, one of CNN_NAMES.
    kernel_size: side of the kernels of the CNN's convolutions, in pixels.
    stride: stride of these convolutions, in pixels.
    channels: output channels of each of them.
    cnn_activation: their activation, 'relu' or 'lrelu' (leaky relu).
    trained_layers: n > 0: the first n convolutions have trained variables and no generator; n < 0:
      the last -n; 0: all convolutions are generated.
    allocation: what a weight block of a convolution holds: the weights of one kernel position
      ('spatial'), or the kernel of one output channel ('output').
    generate_bias: whether the biases of convolutions are generated; otherwise they have none.
    generate_bn: whether the scales and offsets of batch norms are generated; otherwise they are
      trained.
    add_trainable_weights: whether every generated tensor is added to a trained variable.
    separate_query_variables: whether the CNN that classifies query images has trained variables of
      its own, apart from those that the support images meet.
    cnn_dropout_rate: share of the input of a logits layer that is dropped, when query images are
      classified in training.
    warmup_heads: extra logits layers on inner layers: 'none', 'generated' or 'trained'.
    generator: 'joint' (samples and weights are one sequence of tokens) or 'separate' (samples go to
      the encoder, weights to the decoder).
    embedding_dim: E, the numbers of a label embedding and of a weight embedding.
    max_prob_remove_labeled: the largest probability with which a training step hides a labelled
      support image from the generators.
    max_prob_remove_unlabeled: the same for support images without a label.
    embedding_units: U, outputs of the CNN if they are an embedding (docs/spec/continual.md,
      section 1); 0 if they are K logits.
    generated_weight_scale: with add_trainable_weights, weight = trained + this * generated.
    support_classes: classes that the images of a support set can have; 0 means num_labels. It is
      larger for the merged HyperTransformer, which sees the support sets of several tasks at once.
    transformer: the transformer of each generator.
    features: what the generators see of a support image.

  Raises:
    InputError: a field is out of range, or two do not go together.
  """

  num_labels: int = 4
  cnn_name: str = '3-layer'
  kernel_size: int = 3
  stride: int = 2
  channels: int = 16
  cnn_activation: str = 'relu'
  trained_layers: int = 0
  allocation: str = 'spatial'
  generate_bias: bool = False
  generate_bn: bool = False
  add_trainable_weights: bool = False
  separate_query_variables: bool = False
  cnn_dropout_rate: float = 0.0
  warmup_heads: str = 'none'
  generator: str = 'joint'
  embedding_dim: int = 8
  max_prob_remove_labeled: float = 0.0
  max_prob_remove_unlabeled: float = 0.0
  embedding_units: int = 0
  generated_weight_scale: float = 1.0
  support_classes: int = 0
  transformer: TransformerConfig = TransformerConfig()
  features: FeatureConfig = FeatureConfig()

  def __post_init__(self) -> None:
    positive(
      self,
      kernel_size='kernel_size',
      stride='stride',
      channels='default_num_channels',
      embedding_dim='embedding_dim',
      generated_weight_scale='generated_weight_scale',
    )
    not_negative(self, embedding_units='embedding_units', support_classes='support_classes')
    fraction(self, cnn_dropout_rate='cnn_dropout_rate')
    for name in ('max_prob_remove_labeled', 'max_prob_remove_unlabeled'):
      require(
        0.0 <= getattr(self, name) <= 1.0, f'{name} is {getattr(self, name)}; it must be in 0..1.'
      )
    require(
      self.num_labels >= 2, f'num_labels is {self.num_labels}; an episode needs at least 2 classes.'
    )
    require(
      self.support_classes == 0 or self.support_classes >= self.num_labels,
      f'support_classes is {self.support_classes}; it must be 0 or at least '
      f'num_labels={self.num_labels}.',
    )
    one_of('cnn_model_name', self.cnn_name, CNN_NAMES)
    one_of('cnn_activation', self.cnn_activation, ('relu', 'lrelu'))
    one_of('lw_weight_allocation', self.allocation, ('spatial', 'output'))
    one_of('layerwise_generator', self.generator, ('joint', 'separate'))
    one_of('warmup_heads', self.warmup_heads, ('none', 'generated', 'trained'))
    self._check_combinations()

  def _check_combinations(self) -> None:
    for name, chosen in (
      ('lw_generate_bias', self.generate_bias),
      ('lw_generate_bn', self.generate_bn),
    ):
      require(
        not (chosen and self.allocation == 'spatial'),
        f'{name} does not go with lw_weight_allocation=spatial (a spatial block holds one kernel '
        'position of all channels, there is no place for it): use lw_weight_allocation=output.',
      )
    require(
      not (self.generator == 'separate' and self.max_prob_remove_unlabeled > 0),
      'max_prob_remove_unlabeled does not go with layerwise_generator=separate (it has no mask): '
      'set it to 0 or use layerwise_generator=joint.',
    )
    require(
      not (self.generator == 'separate' and self.max_prob_remove_labeled > 0),
      'max_prob_remove_labeled does not go with layerwise_generator=separate (it has no mask): '
      'set it to 0 or use layerwise_generator=joint.',
    )
    require(
      self.generated_weight_scale == 1.0 or self.add_trainable_weights,
      f'generated_weight_scale={self.generated_weight_scale} is for generated weights that are '
      'added to trained ones: set --add_trainable_weights.',
    )
    require(
      self.features.logits_extractor == 'default' or self.cnn_name in FLATTENING_CNNS,
      f'logits_feature_extractor={self.features.logits_extractor} has no meaning for '
      f'cnn_model_name={self.cnn_name}, whose logits see the spatial mean: use '
      f'cnn_model_name={" or ".join(FLATTENING_CNNS)} or logits_feature_extractor=default.',
    )
