"""What the HyperTransformer and the CNN that it generates are made of."""

from __future__ import annotations

import dataclasses

from hypertransformer.errors import require
from hypertransformer.settings.checks import fraction, not_negative, one_of, positive

CNN_NAMES = ('3-layer', '4-layer', 'maxpool-4-layer')
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
  """Sizes and kinds of the transformer (spec/model.md section 3).

  key_query_dim, value_dim, inner_dim: a fraction of the token width D when <= 3, else the width
  itself. An inner width
  of 0: no feed-forward parts. skip_last_nonlinearity: of an encoder without a decoder behind it;
    otherwise no effect.
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
    not_negative(self, inner_dim='lw_inner_dim')
    fraction(self, dropout_rate='dropout_rate')
    one_of('transformer_activation', self.activation, ('softmax', 'sigmoid'))
    one_of('transformer_nonlinearity', self.nonlinearity, ('relu', 'gelu', 'lrelu'))


@dataclasses.dataclass(frozen=True)
class FeatureConfig:
  """What is read off a support image (spec/model.md section 4).

  shared_extractor: '-bn' variants (spec/model.md section 4) have no flag, as in the original:
    library use only.
  layerwise: channels of the local convolutions; None = the larger of a convolution's input and
  output channels, the input channels of a logits layer; 0 = none.
  """

  shared_extractor: str = 'none'
  shared_dim: int = 32
  shared_padding: str = 'valid'
  shared_dropout: float = 0.0
  layerwise: int | None = None
  nonlinear: bool = False
  logits_extractor: str = 'default'
  dropout: float = 0.0

  def __post_init__(self) -> None:
    positive(self, shared_dim='shared_features_dim')
    fraction(self, shared_dropout='shared_fe_dropout', dropout='fe_dropout')
    one_of('shared_feature_extractor', self.shared_extractor, SHARED_EXTRACTORS)
    one_of('shared_feature_extractor_padding', self.shared_padding, ('valid', 'same'))
    one_of('logits_feature_extractor', self.logits_extractor, ('default', 'passthrough', 'mix'))
    require(
      self.layerwise is None or self.layerwise >= 0,
      f'num_layerwise_features is {self.layerwise}; it must be 0 or more (or empty for the default).',
    )
    require(
      self.has_shared or self.layerwise != 0,
      'num_layerwise_features=0 with shared_feature_extractor=none leaves no features at all: '
      'set one of the two.',
    )

  @property
  def has_shared(self) -> bool:
    return self.shared_extractor != 'none'


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """The HyperTransformer and the CNN it generates (spec/model.md sections 2-5).

  embedding_units: outputs of the CNN where they are an embedding (spec/continual.md); 0: they are
    num_labels logits.
  generated_weight_scale: with add_trainable_weights, weight = trained + scale * generated.
  support_classes: classes that the samples of a support set can have; 0: num_labels. More in the
  merged HyperTransformer, which sees the support sets of several tasks at once.
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
      f'support_classes is {self.support_classes}; it must be 0 or at least num_labels={self.num_labels}.',
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
      f'generated_weight_scale={self.generated_weight_scale} is for generated weights that are added to trained '
      'ones: set --add_trainable_weights.',
    )
    require(
      self.features.logits_extractor == 'default' or self.cnn_name == 'maxpool-4-layer',
      f'logits_feature_extractor={self.features.logits_extractor} has no meaning for '
      f'cnn_model_name={self.cnn_name}, whose logits see the spatial mean: use '
      'cnn_model_name=maxpool-4-layer or logits_feature_extractor=default.',
    )
