"""The flags on the command line: those of the original and our own, and how they are read."""

from __future__ import annotations

import json
import logging
import pathlib

import pytest
from absl import flags as absl_flags

from hypertransformer.settings import flags

REPO = pathlib.Path(__file__).resolve().parents[2]
SPEC = REPO.parent / 'shared/spec/flags.json'  # the same flags, with their help texts
KINDS = {'int': int, 'float': float, 'bool': bool, 'string': str, 'string enum': str}


def parsed(*arguments: str) -> absl_flags.FlagValues:
  """Parses a command line, on flags of its own."""
  own = absl_flags.FlagValues()
  flags.define(own)
  own(['program', *arguments])
  return own


def recorded() -> list[tuple]:
  """Reads the original's flags from tests/golden/flags.json: (name, kind, default, choices)."""
  rows = json.loads((REPO / 'tests/golden/flags.json').read_text())
  return [(name, KINDS[kind], default, tuple(*choices)) for name, kind, default, *choices in rows]


def test_the_original_flags_are_all_there_and_no_other():
  ours = {
    flag.name: (flag.name, flag.kind, flag.default, flag.choices) for flag in flags.ORIGINAL_FLAGS
  }
  assert len(flags.ORIGINAL_FLAGS) == len(recorded()) == 89
  for row in recorded():
    assert ours.pop(row[0]) == row
    assert row[2] is None or type(row[2]) is row[1]  # 1 and 1.0 are not the same default
  assert ours == {}


def test_the_flags_recorded_here_are_those_of_the_specification():
  if not SPEC.exists():
    pytest.skip(f'{SPEC} is not here')
  spec = [
    (flag['name'], KINDS[flag['type']], flag['default'], tuple(flag.get('enum', ())))
    for flag in json.loads(SPEC.read_text())
  ]
  assert spec == recorded()


def test_flags_are_unique_and_explained():
  names = [flag.name for flag in flags.ALL_FLAGS]
  assert len(set(names)) == len(names)
  assert all(flag.help for flag in flags.ALL_FLAGS)
  assert set(flags.WITHOUT_EFFECT) <= set(names)
  assert {flag.name for flag in flags.CONTINUAL_FLAGS} == {
    'continual_scenario',
    'continual_method',
    'num_tasks',
    'eval_num_tasks',
    'continual_loss',
    'continual_loss_terms',
    'mixed_queries',
    'embedding_units',
  }
  assert {flag.name for flag in flags.OWN_FLAGS} == {
    'generated_weight_scale',
    'gradient_norm_clip',
    'learning_rate_cooldown',
    'feature_normalization',
    'seed',
    'optimizer',
    'disjoint_query',
    'warmup_heads',
    'episodes_per_step',
    'kernel_threads',
    'image_summaries',
    'sync_replicas',
    'num_gpus',
    'xla',
    'eval_once',
    'eval_checkpoint',
    'eval_timeout_secs',
  }


def test_an_empty_command_line_gives_the_defaults(values):
  assert flags.values(parsed()) == flags.defaults()


def test_the_command_line_sets_values(values):
  own = flags.values(
    parsed(
      '--num_labels=20',
      '--learning_rate=0.02',
      '--balanced_batches',
      '--nolw_generate_bias',
      '--layerwise_generator=separate',
      '--num_layerwise_features=8',
      '--seed=5',
    )
  )
  assert own == values(
    num_labels=20,
    learning_rate=0.02,
    balanced_batches=True,
    layerwise_generator='separate',
    num_layerwise_features='8',
    seed=5,
  )


@pytest.mark.parametrize(
  'argument',
  [
    '--layerwise_generator=both',
    '--optimizer=lbfgs',
    '--num_labels=some',
    '--shared_feature_extractor=2-layer-bn',
    '--no_such_flag=1',
  ],
)
def test_the_parser_refuses_unknown_flags_and_values_of_another_type(argument):
  with pytest.raises(absl_flags.Error):
    parsed(argument)


def test_flags_without_effect_are_named_in_one_warning(caplog, values):
  with caplog.at_level(logging.WARNING, logger='absl'):
    flags.values(parsed('--value_dim=256'))  # its default
    assert caplog.messages == []
    flags.values(parsed('--value_dim=3', '--num_labels=5', '--boundary_probability=0.5'))
  assert caplog.messages == [
    'These flags are accepted but have no effect: --boundary_probability, --value_dim'
  ]
