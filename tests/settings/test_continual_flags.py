"""The flags of sequences of tasks: what they become, and when they are refused."""

from __future__ import annotations

import pytest

from hypertransformer.errors import InputError
from hypertransformer.settings import config, flags, flags_file

CLASS = {'continual_scenario': 'class_incremental'}
PIECES = {'continual_scenario': 'mini_batch'}
LOGITS = {**PIECES, 'continual_loss': 'cross_entropy'}
MERGED = {**CLASS, 'continual_method': 'merged_hypertransformer'}


def test_without_a_scenario_there_are_no_sequences(values):
  assert flags.settings_from(values()).continual is None
  assert flags.settings_from(values()).model.embedding_units == 0


def test_a_scenario_alone_gives_the_defaults(values):
  assert flags.settings_from(values(**CLASS)).continual == config.ContinualConfig(
    'class_incremental', 'continual_hypertransformer', 3, 5, 'prototypical', 'all'
  )
  assert (
    config.ContinualConfig('class_incremental') == flags.settings_from(values(**CLASS)).continual
  )


def test_every_flag_arrives(values):
  v = values(
    **LOGITS,
    continual_method='merged_hypertransformer',
    num_tasks=7,
    eval_num_tasks=9,
    continual_loss_terms='last',
  )
  assert flags.settings_from(v).continual == config.ContinualConfig(
    'mini_batch', 'merged_hypertransformer', 7, 9, 'cross_entropy', 'last'
  )


@pytest.mark.parametrize(
  ('changes', 'units'), [(CLASS, 32), ({**CLASS, 'embedding_units': 6}, 6), (LOGITS, 0)]
)
def test_the_cnn_gives_an_embedding_unless_it_gives_logits(changes, units, values):
  assert flags.settings_from(values(**changes)).model.embedding_units == units


@pytest.mark.parametrize(
  ('changes', 'classes'),
  [(CLASS, 0), (MERGED, 20), ({**MERGED, 'num_tasks': 7}, 28), ({**MERGED, **PIECES}, 0)],
)
def test_a_merged_support_set_has_the_classes_of_the_longest_sequence(changes, classes, values):
  """A task has num_labels = 4 classes; 0 stands for the classes of one task."""
  assert flags.settings_from(values(**changes)).model.support_classes == classes


@pytest.mark.parametrize(
  ('old', 'new', 'changed'),
  [
    (CLASS, {**CLASS, 'num_tasks': 9, 'eval_num_tasks': 2, 'continual_loss_terms': 'last'}, []),
    (CLASS, {'continual_scenario': 'task_incremental'}, []),  # the same model, another loss
    ({}, {'continual_method': 'constant_protonet'}, []),  # refused elsewhere
    (CLASS, {**CLASS, 'embedding_units': 32}, []),  # its default
    ({}, CLASS, ["--continual_scenario was 'none', is 'class_incremental'"]),
    (CLASS, {**CLASS, 'embedding_units': 16}, ['--embedding_units was 0, is 16']),
    (
      CLASS,
      {**CLASS, 'continual_method': 'constant_protonet'},
      ["--continual_method was 'continual_hypertransformer', is 'constant_protonet'"],
    ),
    (
      {**MERGED, 'num_tasks': 2, 'eval_num_tasks': 6},
      {**MERGED, 'num_tasks': 6, 'eval_num_tasks': 4},
      [],
    ),
    (
      MERGED,
      {**MERGED, 'eval_num_tasks': 6},
      [
        'merged_hypertransformer was made for continual_scenario=class_incremental of up to 5 '
        'tasks, is for continual_scenario=class_incremental of up to 6 tasks (the larger of '
        '--num_tasks and --eval_num_tasks: for shorter sequences in evaluation leave --num_tasks '
        'as large)'
      ],
    ),
    (
      MERGED,
      {**MERGED, **PIECES},
      [
        'merged_hypertransformer was made for continual_scenario=class_incremental of up to 5 '
        'tasks, is for continual_scenario=mini_batch of up to 5 tasks (the larger of --num_tasks '
        'and --eval_num_tasks: for shorter sequences in evaluation leave --num_tasks as large)'
      ],
    ),
    (PIECES, LOGITS, ["--continual_loss was 'prototypical', is 'cross_entropy'"]),
    (
      {'add_trainable_weights': True},
      {'add_trainable_weights': True, 'generated_weight_scale': 0.1},
      ['--generated_weight_scale was 1.0, is 0.1'],
    ),
  ],
)
def test_only_flags_of_the_model_make_another_model(old, new, changed, values):
  assert flags_file.model_flag_changes(values(**old), values(**new)) == changed


def test_a_run_from_before_these_flags_goes_on(values):
  old = {
    name: value
    for name, value in values().items()
    if name not in {flag.name for flag in flags.CONTINUAL_FLAGS}
  }
  assert flags_file.model_flag_changes(old, values()) == []


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (
      {'continual_method': 'constant_protonet'},
      'continual_method=constant_protonet is for sequences of tasks: set --continual_scenario, or '
      'leave it at contin',
    ),
    ({'embedding_units': 8}, 'embedding_units=8 is for sequences of tasks'),
    ({'continual_loss': 'cross_entropy'}, 'continual_loss=cross_entropy is for sequences of tasks'),
    ({'mixed_queries': True}, 'mixed_queries=True is for sequences of tasks'),
    ({'continual_loss_terms': 'last'}, 'continual_loss_terms=last is for sequences of tasks'),
    (
      {**CLASS, 'warmup_steps': 5},
      r'warmup_steps=5 does not go with continual_scenario=class_incremental \(warm-up',
    ),
    (
      {**CLASS, 'pretrain_shared_feature': True},
      'pretrain_shared_feature=True does not go with continual_scenario',
    ),
    (
      {**CLASS, 'shared_head_weight': 0.5},
      'shared_head_weight=0.5 does not go with continual_scenario',
    ),
    (
      {**CLASS, 'separate_evaluation_bn_vars': True},
      'separate_evaluation_bn_vars=True does not go with continual_sc',
    ),
    ({**CLASS, 'l2_reg_weight': 0.1}, 'l2_reg_weight=0.1 does not go with continual_scenario'),
    (
      {**CLASS, 'weight_variation_regularization': 0.1},
      'weight_variation_regularization=0.1 does not go with contin',
    ),
    (
      {**CLASS, 'unlabeled_samples_per_class': 1},
      'unlabeled_samples_per_class=1 does not go with continual_scenario',
    ),
    (
      {**CLASS, 'max_prob_remove_labeled': 0.1},
      'max_prob_remove_labeled=0.1 does not go with continual_scenario',
    ),
    (
      {**CLASS, 'max_prob_remove_unlabeled': 0.1},
      'max_prob_remove_unlabeled=0.1 does not go with continual_scenario',
    ),
    (
      {**CLASS, 'continual_loss': 'cross_entropy'},
      'continual_loss=cross_entropy does not go with continual_scenario',
    ),
    (
      {**LOGITS, 'embedding_units': 8},
      'embedding_units=8 does not go with continual_loss=cross_entropy',
    ),
    (
      {**CLASS, 'continual_method': 'constant_protonet', 'restore_shared_features_from': 'x'},
      'restore_shared_features_from=x does not go with continual_method=constant_protonet',
    ),
    ({**CLASS, 'num_tasks': 0}, 'num_tasks is 0; it must be positive'),
  ],
)
def test_flags_that_do_not_go_together_are_refused(changes, message, values):
  with pytest.raises(InputError, match=message):
    flags.settings_from(values(**changes))
