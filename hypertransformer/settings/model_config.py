"""The configuration of the HyperTransformer and of the CNN that it generates.

The letters K, Ns, E, F, D, B and b are explained in config.py.
"""

from __future__ import annotations

import dataclasses
import functools

from hypertransformer.settings.declare import flag

# A width of the transformer up to this is a fraction of D, a larger one is the width itself.
LARGEST_FRACTION = 3.0

_model = functools.partial(flag, model=True)
_dropout = functools.partial(flag, 0.0, within='[0, 1)', affects='training')
_removal = functools.partial(flag, 0.0, within='[0, 1]', affects='training', continual=False)


@dataclasses.dataclass(frozen=True)
class TransformerConfig:
  """The transformer of a generator (docs/spec/model.md, sections 2 and 3)."""

  num_layers: int = _model(4, 'encoder layers of the transformer, and decoder layers', '[1, 1e3]')
  heads: int = _model(4, 'attention heads of the transformer', '[1, 1e3]')
  key_query_dim: float = _model(
    1.0,
    'width of queries and keys over all heads; up to 3: a fraction of the token width D',
    '(0, 1e6]',
    name='lw_key_query_dim',
  )
  value_dim: float = _model(
    1.0, 'width of the values, given like --lw_key_query_dim', '(0, 1e6]', name='lw_value_dim'
  )
  inner_dim: float = _model(
    1.0,
    'width of the feed-forward blocks, given like --lw_key_query_dim; 0 or less: no such blocks',
    '(-inf, 1e6]',
    name='lw_inner_dim',
  )
  activation: str = _model(
    'softmax',
    'function that normalizes attention logits',
    name='transformer_activation',
    choices=('softmax', 'sigmoid'),
  )
  nonlinearity: str = _model(
    'relu',
    'nonlinearity of the feed-forward blocks',
    name='transformer_nonlinearity',
    choices=('gelu', 'relu', 'lrelu'),
  )
  skip_last_nonlinearity: bool = _model(
    False, 'omit the last nonlinearity (without decoder)', name='transformer_skip_last_nonlinearity'
  )
  use_decoder: bool = _model(False, 'add a decoder to the joint generator')
  dropout_rate: float = _dropout('dropout of the transformer; like every dropout, in training only')


@dataclasses.dataclass(frozen=True)
class FeatureConfig:
  """The features of a support image that the generators see (docs/spec/model.md, section 4).

  Shared features are computed once from the image, for all generators. Local features belong to
  one CNN layer and are computed from the activations that enter it.
  """

  # The variants '2-layer-bn' to '4-layer-bn', with batch norm, have no flag, as in the original.
  shared_extractor: str = _model(
    'none',
    'convolutions that compute features of the support images for all generators',
    name='shared_feature_extractor',
    choices=('none', '2-layer', '3-layer', '4-layer'),
  )
  shared_dim: int = _model(32, 'number of shared features', '[1, 1e4]', name='shared_features_dim')
  shared_padding: str = _model(
    'valid',
    'padding of --shared_feature_extractor',
    name='shared_feature_extractor_padding',
    choices=('valid', 'same'),
  )
  shared_dropout: float = _dropout('dropout of the shared features', name='shared_fe_dropout')
  # Channels; None: the larger of the layer's input and output channels.
  layerwise: int | None = _model(
    '',
    "number of a layer's own features; 0: none; empty: that of its channels",
    name='num_layerwise_features',
    field=None,
  )
  nonlinear: bool = _model(
    False, 'features of the logits layer after a ReLU', name='lw_use_nonlinear_feature'
  )
  logits_extractor: str = _model(
    'default',
    'features of the logits layer: of a convolution, its flattened input, or both',
    name='logits_feature_extractor',
    choices=('default', 'passthrough', 'mix'),
  )
  dropout: float = _dropout("dropout of a layer's own features", name='fe_dropout')
  normalization: str = _model(
    'none',
    'support: zero mean and unit variance of each feature over the support set',
    name='feature_normalization',
    choices=('none', 'support'),
  )

  @property
  def has_shared(self) -> bool:
    """Whether there are shared features."""
    return self.shared_extractor != 'none'


@dataclasses.dataclass(frozen=True)
class ModelConfig:
  """The HyperTransformer and the CNN that it generates (docs/spec/model.md, sections 2 to 5)."""

  num_labels: int = _model(4, 'K: classes per task ("way")', '[2, 1e4]')
  # The known names are those of model/cnn.py.
  cnn_name: str = _model('3-layer', 'the generated CNN', name='cnn_model_name')
  kernel_size: int = _model(3, "side of the CNN's kernels, in pixels", '[1, 1e3]')
  stride: int = _model(2, "stride of the CNN's convolutions", '[1, 1e3]')
  channels: int = _model(
    16, "output channels of the CNN's convolutions", '[1, 1e4]', name='default_num_channels'
  )
  cnn_activation: str = _model(
    'relu', "activation of the CNN's convolutions; lrelu is leaky ReLU", choices=('relu', 'lrelu')
  )
  trained_layers: int = _model(
    0, 'n: train the first n convolutions; -n: the last n', name='number_of_trained_cnn_layers'
  )
  allocation: str = _model(
    'spatial',
    'one weight token per kernel position, or per output channel',
    name='lw_weight_allocation',
    choices=('spatial', 'output'),
  )
  generate_bias: bool = _model(False, 'generate convolution biases', name='lw_generate_bias')
  generate_bn: bool = _model(False, 'generate batch-norm variables', name='lw_generate_bn')
  add_trainable_weights: bool = _model(
    False, 'add a trained variable to every generated tensor: weight = trained + generated'
  )
  add_trainable_weights_to: str = _model(
    'all', 'layers to which --add_trainable_weights adds', choices=('all', 'convolutions')
  )
  prototype_logits: bool = _model(
    False, 'add the classifier of Prototypical Networks to generated logits layers', continual=False
  )
  separate_query_variables: bool = _model(
    False,
    'train separate batch-norm variables for queries',
    name='separate_evaluation_bn_vars',
    continual=False,
  )
  cnn_dropout_rate: float = _dropout('dropout before the logits layer of the CNN, for queries')
  # 'none' without --warmup_steps.
  warmup_heads: str = _model(
    'generated',
    'logits layers of inner layers (--warmup_steps)',
    choices=('generated', 'trained'),
    field='none',
    affects='training',
  )
  generator: str = _model(
    'joint',
    'support samples and weight tokens in one sequence, or in encoder and decoder',
    name='layerwise_generator',
    choices=('joint', 'separate'),
  )
  embedding_dim: int = _model(8, 'E: dimension of label and weight embeddings', '[1, 1e4]')
  max_prob_remove_labeled: float = _removal('largest probability of hiding a labeled support image')
  max_prob_remove_unlabeled: float = _removal(
    'largest probability of hiding an unlabeled support image'
  )
  # The number of outputs if queries are classified by prototypes; 0 for K logits.
  embedding_units: int = _model(
    0, 'U: dimension in which prototypes are compared; 0: 32', '[0, 1e5]', continual=True
  )
  generated_weight_scale: float = _model(
    1.0, 'weight = trained + this * generated (--add_trainable_weights)', '(0, inf)'
  )
  # Classes that a support set can have; 0 means num_labels. The merged HyperTransformer sees the
  # support sets of several tasks at once.
  support_classes: int = 0
  transformer: TransformerConfig = TransformerConfig()
  features: FeatureConfig = FeatureConfig()
