"""The runs of the campaign, in the order in which they are made: see campaign.py."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Run:
  """One training and its evaluation.

  Attributes:
    name: of its folders.
    script: of scripts/, without .sh.
    steps: updates in all.
    flags: what differs from the script.
    evaluation: flags of the evaluation alone.
    against: what the result is held against.
  """

  name: str
  script: str
  steps: int
  flags: tuple[str, ...] = ()
  evaluation: tuple[str, ...] = ('--num_task_evals=1024',)
  against: str = ''


SUPPORT = '--feature_normalization=support'
# What omniglot_1shot_v2 had besides normalised features only later.
CONSTANT = '--learning_rate_cooldown=0'
# The four convolutions are trained, so that the logits layer alone is generated.
LOGITS_ONLY = '--number_of_trained_cnn_layers=4'
OF_4 = '--default_num_channels=4'
OF_16 = ('--default_num_channels=16', '--num_layerwise_features=16')
ONE_SHOT = 'the paper: 87.2; the original at 120,000 steps: 84.3 +- 0.5'
SEQUENCES = ('--eval_batch_size=25', '--disjoint_query', '--eval_datasets=test=omniglot:1200-1622')


def paired(name: str, script: str, steps: int, *flags: str, seeds: tuple[int, ...]) -> list[Run]:
  """The same run without and with normalised features, for several seeds, 400 tasks each."""
  return [
    Run(
      f'{name}_{"normalised" if norm else "v1"}_seed{seed}',
      script,
      steps,
      (*flags, *norm, f'--seed={seed}', '--steps_between_saves=5000'),
      ('--num_task_evals=400',),
      'each other',
    )
    for seed in seeds
    for norm in ((SUPPORT,), ())
  ]


def tried(name: str, *flags: str, steps: int = 15_000) -> list[Run]:
  """One change to v1 with normalised features, 15,000 episodes, three seeds, 400 tasks each."""
  return [
    Run(
      f'search_{name}_seed{seed}',
      'omniglot_1shot_v2',
      steps,
      (CONSTANT, *flags, f'--seed={seed}', '--steps_between_saves=5000'),
      ('--num_task_evals=400',),
      'search_none',
    )
    for seed in (1, 2, 3)
  ]


SEARCH = [
  *tried('none'),
  *tried('rate_001', '--learning_rate=0.01'),
  *tried('rate_004', '--learning_rate=0.04'),
  *tried('rate_008', '--learning_rate=0.08'),
  *tried('decay', '--learning_rate_decay_rate=0.1', '--learning_rate_decay_steps=15000'),
  *tried(
    'rate_004_decay',
    '--learning_rate=0.04',
    '--learning_rate_decay_rate=0.05',
    '--learning_rate_decay_steps=15000',
  ),
  *tried('cooldown', '--learning_rate_cooldown=0.25'),
  *tried('rate_004_cooldown', '--learning_rate=0.04', '--learning_rate_cooldown=0.25'),
  *tried(
    'real_classes',
    '--learning_rate=0.04',
    '--learning_rate_cooldown=0.25',
    '--shared_head_weight=1.0',
  ),
  *tried('warm_up', '--learning_rate=0.04', '--learning_rate_cooldown=0.25', '--warmup_steps=5000'),
  *tried('momentum_0002', '--optimizer=momentum', '--learning_rate=0.002'),
  *tried('momentum_0004', '--optimizer=momentum', '--learning_rate=0.004'),
  *tried('adam_0001', '--optimizer=adam', '--learning_rate=0.001'),
  *tried('rate_008_clip', '--learning_rate=0.08', '--gradient_norm_clip=1.0'),
  *tried('episodes_2', '--episodes_per_step=2', '--learning_rate=0.04', steps=7_500),
  *tried('episodes_4', '--episodes_per_step=4', '--learning_rate=0.08', steps=3_750),
]

RUNS = [
  *SEARCH,
  *paired('omniglot_1shot_20k', 'omniglot_1shot_v1', 20_000, seeds=(1, 2, 3)),
  *paired('omniglot_1shot_16_20k', 'omniglot_1shot_v1', 20_000, *OF_16, seeds=(1, 2, 3)),
  *paired('omniglot_5shot_20k', 'omniglot_5shot_v1', 20_000, seeds=(1, 2, 3)),
  Run('omniglot_1shot_v2', 'omniglot_1shot_v2', 200_000, ('--seed=1',), against=ONE_SHOT),
  Run('omniglot_1shot_v1', 'omniglot_1shot_v1', 500_000, ('--seed=1',), against=ONE_SHOT),
  Run('omniglot_1shot_v2_500k', 'omniglot_1shot_v2', 500_000, ('--seed=1',), against=ONE_SHOT),
  Run('omniglot_5shot_v2', 'omniglot_5shot_v2', 200_000, ('--seed=1',), against='the paper: 94.7'),
  *(
    Run(
      f'5shot_4_{layers}_v2_seed{seed}',
      'omniglot_5shot_v2',
      100_000,
      (OF_4, *which, f'--seed={seed}'),
      against=f'the paper: {paper} (not verified)',
    )
    for seed in (1, 2, 3)
    for layers, which, paper in (('all', (), 82.0), ('logits', (LOGITS_ONLY,), 77.9))
  ),
  Run(
    'omniglot_1shot_16_v2',
    'omniglot_1shot_v2',
    150_000,
    (*OF_16, '--seed=1'),
    against='the paper: 93.7 (not verified)',
  ),
  Run(
    '5shot_labelled',
    'omniglot_5shot_v2',
    50_000,
    (CONSTANT, '--seed=1'),
    against='5shot_unlabelled',
  ),
  Run(
    '5shot_unlabelled',
    'omniglot_5shot_v2',
    50_000,
    (CONSTANT, '--samples_transformer=180', '--unlabeled_samples_per_class=4', '--seed=1'),
    against='5shot_labelled',
  ),
  *(
    Run(
      f'continual_4_{method}_seed{seed}',
      'continual_omniglot_class_incremental',
      60_000,
      (
        OF_4,
        '--num_layerwise_features=4',
        SUPPORT,
        f'--continual_method={method}',
        f'--seed={seed}',
      ),
      ('--num_task_evals=1024', *SEQUENCES),
      'each other',
    )
    for seed in (1, 2, 3)
    for method in ('continual_hypertransformer', 'constant_protonet')
  ),
  Run(
    'continual_8_mixed',
    'continual_omniglot_class_incremental',
    30_000,
    (SUPPORT, '--mixed_queries', '--seed=1'),
    ('--num_task_evals=1024', *SEQUENCES),
    'comes with the package',
  ),
]
