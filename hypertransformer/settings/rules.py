"""The flags of sequences of tasks (--continual_scenario): which others they go with.

Also what the values of several of them together mean for the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypertransformer import errors

DEFAULT_EMBEDDING_UNITS = 32

# Flags that have no meaning without a scenario.
NEED_SCENARIO = (
  'continual_method',
  'continual_loss',
  'continual_loss_terms',
  'mixed_queries',
  'embedding_units',
)

# Flags that do not go with a scenario: (flag, the only value that does, why).
REFUSED = (
  ('warmup_steps', 0, 'warm-up heads are logits of one task'),
  (
    'pretrain_shared_feature',
    False,
    'no CNN learns anything then; pre-train without a scenario and start from that '
    'run by --restore_shared_features_from',
  ),
  (
    'shared_head_weight',
    0.0,
    'the real-class head is for single tasks; pre-train the shared features instead',
  ),
  ('separate_evaluation_bn_vars', False, 'prototypes and queries must be embedded by the same CNN'),
  ('l2_reg_weight', 0.0, 'regularisation of the CNN is for single tasks'),
  ('weight_variation_regularization', 0.0, 'regularisation of the CNN is for single tasks'),
  ('unlabeled_samples_per_class', 0, 'prototypes are means of labelled samples'),
  ('max_prob_remove_labeled', 0.0, 'prototypes are means of all labelled samples'),
  ('max_prob_remove_unlabeled', 0.0, 'there are no unlabelled samples'),
)


def embedding_units(v: Mapping[str, Any]) -> int:
  """Returns U, the outputs of a CNN whose queries are classified by prototypes.

  Args:
    v: flag values by name. An --embedding_units of 0 there stands for the default.

  Returns:
    U, or 0 if there are no prototypes: the CNN then gives logits.
  """
  prototypical = v['continual_scenario'] != 'none' and v['continual_loss'] == 'prototypical'
  return v['embedding_units'] or (DEFAULT_EMBEDDING_UNITS if prototypical else 0)


def support_classes(v: Mapping[str, Any]) -> int:
  """Returns how many classes the images of one support set can have.

  For the merged HyperTransformer, which sees the support sets of several tasks at once, these are
  the classes of the longest sequence in training or evaluation. Otherwise 0 is returned, which
  stands for the classes of one task.

  Args:
    v: flag values by name.
  """
  together = v['continual_method'] == 'merged_hypertransformer' and v['continual_scenario'] in (
    'task_incremental',
    'class_incremental',
  )
  return v['num_labels'] * max(v['num_tasks'], v['eval_num_tasks']) if together else 0


def support_classes_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
  """Explains why a merged HyperTransformer is another model because its `support_classes` changed.

  Args:
    old: all flag values by name, of the run so far.
    new: all flag values by name, as they are now.

  Returns:
    One line of text; an empty list if the number of classes is the same.
  """
  if support_classes(old) == support_classes(new):
    return []
  before, now = (
    'continual_scenario={continual_scenario} of up to {longest} tasks'.format(
      longest=max(v['num_tasks'], v['eval_num_tasks']), **v
    )
    for v in (old, new)
  )
  return [
    f'merged_hypertransformer was made for {before}, is for {now} (the larger of --num_tasks and '
    '--eval_num_tasks: for shorter sequences in evaluation leave --num_tasks as large)'
  ]


def check(v: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
  """Checks that the flags go with the value of --continual_scenario.

  Args:
    v: flag values by name.
    defaults: the default of every flag by name.

  Raises:
    InputError: a flag needs a scenario and there is none, or does not go with the scenario.
  """
  scenario = v['continual_scenario']
  if scenario == 'none':
    for name in NEED_SCENARIO:
      errors.require(
        v[name] == defaults[name],
        f'{name}={v[name]} is for sequences of tasks: set '
        f'--continual_scenario, or leave it at {defaults[name]}.',
      )
    return
  for name, fine, why in REFUSED:
    errors.require(
      v[name] == fine,
      f'{name}={v[name]} does not go with continual_scenario={scenario} ({why}): leave '
      f'it at {fine}.',
    )
  errors.require(
    v['continual_loss'] == 'prototypical' or v['embedding_units'] == 0,
    f'embedding_units={v["embedding_units"]} does not go with continual_loss=cross_entropy, whose '
    'CNN has num_labels logits: leave it at 0.',
  )
  errors.require(
    v['continual_method'] != 'constant_protonet' or not v['restore_shared_features_from'],
    f'restore_shared_features_from={v["restore_shared_features_from"]} does not go with '
    'continual_method=constant_protonet, which has no shared features: leave it empty.',
  )
