"""Which flags require or exclude each other, and what several of them mean together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hypertransformer.errors import require
from hypertransformer.settings.config import CONTINUAL_SCENARIOS
from hypertransformer.settings.declare import Flag

Values = Mapping[str, Any]  # the value of every flag by its name, without dashes

DEFAULT_EMBEDDING_UNITS = 32
_GENERATING = ('continual_hypertransformer', 'merged_hypertransformer')

# (flags, another flag, the values that it must have if they are not at their defaults)
_REQUIREMENTS: tuple[tuple[tuple[str, ...], str, tuple[Any, ...]], ...] = (
  (('lw_generate_bias', 'lw_generate_bn'), 'lw_weight_allocation', ('output',)),
  (('max_prob_remove_labeled', 'max_prob_remove_unlabeled'), 'layerwise_generator', ('joint',)),
  (('generated_weight_scale', 'weight_variation_regularization'), 'add_trainable_weights', (True,)),
  (('add_trainable_weights_to',), 'add_trainable_weights', (True,)),
  (
    ('pretrain_shared_feature', 'shared_head_weight', 'restore_shared_features_from'),
    'shared_feature_extractor',
    ('2-layer', '3-layer', '4-layer'),
  ),
  (('unlabeled_samples_per_class',), 'balanced_batches', (True,)),
  (('mixed_queries',), 'continual_scenario', ('class_incremental',)),
  (('continual_loss',), 'continual_scenario', ('mini_batch',)),
  (('continual_loss', 'restore_shared_features_from'), 'continual_method', _GENERATING),
  (('embedding_units',), 'continual_loss', ('prototypical',)),
)


def check(v: Values, flags: Iterable[Flag]) -> None:
  """Check that flag values, each of which is allowed, go together.

  Args:
    v: flag values by name.
    flags: all flags.

  Raises:
    InputError: they do not.
  """
  defaults = {flag.name: flag.default for flag in flags}
  scenarios = tuple(
    ((flag.name,), 'continual_scenario', CONTINUAL_SCENARIOS if flag.continual else ('none',))
    for flag in flags
    if flag.continual is not None
  )
  for names, other, allowed in (*scenarios, *_REQUIREMENTS):
    for name in names:
      require(
        v[name] == defaults[name] or v[other] in allowed,
        f'{name}={v[name]!r} requires {other}={" or ".join(map(str, allowed))}, which is '
        f'{v[other]}. Set that, or leave {name} at {defaults[name]!r}.',
      )
  local, shared = v['num_layerwise_features'], v['shared_feature_extractor']
  require(
    local == '' or (local.isascii() and local.isdigit() and len(local) <= 5),
    f'num_layerwise_features is {local!r}; it must be empty or a whole number below 100000.',
  )
  require(
    local == '' or int(local) > 0 or shared != 'none',
    'num_layerwise_features=0 with shared_feature_extractor=none leaves no features. Set one of '
    'the two.',
  )
  ways, support, hidden = (
    v[name] for name in ('num_labels', 'samples_transformer', 'unlabeled_samples_per_class')
  )
  require(
    support >= ways,
    f'samples_transformer is {support}, fewer than num_labels={ways}. It counts the support images '
    'of all classes.',
  )
  require(
    hidden < support // ways,
    f'unlabeled_samples_per_class={hidden} hides every label: a class has {support // ways} '
    'support images (samples_transformer / num_labels).',
  )
  require(
    v['episodes_per_step'] % max(v['num_gpus'], 1) == 0,
    f'episodes_per_step={v["episodes_per_step"]} is not a multiple of num_gpus={v["num_gpus"]}.',
  )
  require(v['train_log_dir'] != '', 'train_log_dir is empty. Give the directory of the run.')


def embedding_units(v: Values) -> int:
  """Return U, the outputs of a CNN whose queries are classified by prototypes; 0 for logits."""
  prototypical = v['continual_scenario'] != 'none' and v['continual_loss'] == 'prototypical'
  return v['embedding_units'] or (DEFAULT_EMBEDDING_UNITS if prototypical else 0)


def support_classes(v: Values) -> int:
  """Return how many classes one support set can have if it is more than those of one task, else 0.

  The merged HyperTransformer sees the support sets of the longest sequence at once.
  """
  merged = v['continual_method'] == 'merged_hypertransformer'
  if not merged or v['continual_scenario'] not in ('task_incremental', 'class_incremental'):
    return 0
  return v['num_labels'] * max(v['num_tasks'], v['eval_num_tasks'])
