"""What a step measures: tags, the loss of sequences of tasks, and several episodes at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.episodes import sequences
from hypertransformer.model import continual, shown
from hypertransformer.training import objective

CLASS = 'class_incremental'
SHARED = {'shared_feature_extractor': '2-layer', 'shared_features_dim': 2, 'kernel_size': 2}

# The tags of the original (shared/golden/summary_tags.json), without test_accuracy. There the CNN
# has three warm-up heads; here it has three convolutions, and so two heads.
PLAIN = {'loss/loss/ce', 'accuracy/accuracy', 'loss/loss'}
WARMUP = PLAIN | {
  'accuracy/head-1',
  'accuracy/head-2',
  'warmup_weights/head-1',
  'warmup_weights/head-2',
  'warmup_weights/main',
}
PRETRAINING = {'loss/shared_head_loss', 'accuracy/shared_head_accuracy'}
SHARED_HEAD = PLAIN | PRETRAINING | {'loss/weighted_shared_head_loss'}


@pytest.mark.parametrize(
  ('changes', 'tags'),
  [
    ({'warmup_steps': 4}, WARMUP),
    ({'l2_reg_weight': 0.1}, PLAIN | {'loss/loss/regularization'}),
    ({**SHARED, 'shared_head_weight': 0.5}, SHARED_HEAD),
    (SHARED, PLAIN),
    ({**SHARED, 'pretrain_shared_feature': True}, PRETRAINING),
    ({'continual_scenario': CLASS}, PLAIN | {f'accuracy/after_{t}' for t in (1, 2, 3)}),
    ({'continual_scenario': CLASS, 'continual_loss_terms': 'last'}, PLAIN | {'accuracy/after_3'}),
  ],
  ids=['warmup', 'l2', 'shared head', 'shared features', 'pretraining', 'sequence', 'last task'],
)
def test_tags_are_those_of_the_original_and_the_learning_rate(settings_of, build, changes, tags):
  ops = build(settings_of(**changes)).ops
  assert set(ops.metrics) == {*tags, 'learning_rate'}
  tested = [] if tags is PRETRAINING else ['accuracy/test_accuracy']
  assert list(ops.test_metrics) == tested


@pytest.mark.parametrize(('terms', 'counted'), [('all', [0, 1, 2]), ('last', [1, 2])])
def test_the_loss_of_a_sequence_is_a_mean_over_pairs(settings_of, monkeypatch, terms, counted):
  rng = np.random.default_rng(0)
  logits, labels = rng.normal(size=(3, 5, 4)), rng.integers(0, 4, (3, 5)).astype(np.int32)
  pairs = [(0, 0), (1, 0), (1, 1)]

  def outcome(*given, last_only):
    kept = slice(1 if last_only else 0, None)
    return continual.SequenceOutcome(
      pairs[kept],
      tf.constant(logits[kept], tf.float32),
      tf.constant(labels[kept]),
      None,
      continual._Learned({}, tf.zeros([]), []),
    )

  monkeypatch.setattr(continual, 'learn_sequence', outcome)
  monkeypatch.setattr(sequences, 'from_episode', lambda *args: [None] * 4)
  monkeypatch.setattr(shown, 'of_sequence', lambda *args: {})
  settings = settings_of(continual_scenario=CLASS, continual_loss_terms=terms)
  model: Any = type('Model', (), {'config': settings.model, 'plans': []})
  episode: Any = type('Episode', (), {'seed': tf.constant([1, 2])})
  with tf.Graph().as_default(), tf.Session() as session:
    episode.seed = tf.constant([1, 2])
    ours = objective.of_episode(
      settings, model, episode, range(1), tf.constant(0), tf.constant(1.0)
    )
    found = session.run(ours.metrics)
  p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  of_pair = [
    -np.mean([np.log(q[label]) for q, label in zip(p[i], labels[i], strict=True)]) for i in range(3)
  ]
  right = (logits.argmax(-1) == labels).mean(1)
  after = {'accuracy/after_2': right[1:].mean()}
  if terms == 'all':
    after['accuracy/after_1'] = right[0]
  loss = np.mean([of_pair[i] for i in counted])
  expected = {'loss/loss': loss, 'loss/loss/ce': loss, 'accuracy/accuracy': right[counted].mean()}
  assert found == pytest.approx({**expected, **after}, rel=1e-5)


@pytest.mark.parametrize(
  'changes',
  [
    {'fe_dropout': 0.5, 'max_prob_remove_labeled': 0.5},
    {**SHARED, 'shared_head_weight': 0.5, 'warmup_steps': 8},
  ],
)
def test_several_episodes_a_step_are_the_mean_of_single_ones(settings_of, build, changes):
  """Episodes and variables are the same. Metrics, loss and gradients are compared."""
  found = []
  for together in (1, 3):
    built = build(settings_of(**changes, episodes_per_step=together))
    ops = built.ops
    with built.graph.as_default(), tf.Session() as session:
      variables = {v.op.name: v for v in tf.trainable_variables()}
      gradients = {v.op.name: tf.convert_to_tensor(gradient) for gradient, v in ops.gradients}
      built.start(session)
      rng = np.random.default_rng(5)
      for name in sorted(variables):
        variables[name].load(0.3 * rng.normal(size=variables[name].shape), session)
      fetches = {**ops.objective.metrics, **gradients}
      runs = [session.run(fetches) for _ in range(3 // together)]
    found.append({name: np.mean([run[name] for run in runs], axis=0) for name in runs[0]})
  single, several = found
  assert set(single) == set(several)
  for name, expected in single.items():
    np.testing.assert_allclose(
      several[name], expected, rtol=1e-4, atol=1e-5 * max(1, np.abs(expected).max()), err_msg=name
    )
