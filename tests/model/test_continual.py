"""Learning sequences of tasks: against the HyperTransformer itself, an unrolled loop, and NumPy."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.episodes.sequences import Sequence
from hypertransformer.errors import InputError
from hypertransformer.model import continual, loops, sequence_queries
from hypertransformer.model.hypertransformer import HyperTransformer, Support
from hypertransformer.model.noise import Noise
from hypertransformer.model.prototypes import UNKNOWN
from hypertransformer.settings.config import CONTINUAL_METHODS, CONTINUAL_SCENARIOS, ContinualConfig
from hypertransformer.settings.model_config import FeatureConfig, ModelConfig, TransformerConfig

SIDE, K, UNITS = 8, 3, 4
CHT, PROTONET, MERGED = CONTINUAL_METHODS
TASK, CLASS, PIECES = CONTINUAL_SCENARIOS
ADDED = {'add_trainable_weights': True, 'generated_weight_scale': 0.1}
CORRECTION = {**ADDED, 'allocation': 'output', 'generate_bias': True, 'generate_bn': True}


def model_of(**changes) -> HyperTransformer:
  settings = {
    'num_labels': K,
    'kernel_size': 2,
    'stride': 1,
    'channels': 2,
    'embedding_dim': 3,
    'embedding_units': UNITS,
    'trained_layers': 1,
    'transformer': TransformerConfig(num_layers=1, heads=1),
    'features': FeatureConfig(layerwise=2),
    **changes,
  }
  return HyperTransformer(ModelConfig(**settings), (SIDE, SIDE, 1))


def draw(num_tasks: int, pieces: bool = False, seed: int = 1) -> Sequence:
  """A sequence of NumPy arrays: 2 support and 3 query images of each class."""
  rng = np.random.default_rng(seed)

  def part(tasks: int, each: int) -> tuple[np.ndarray, np.ndarray]:
    images = rng.uniform(-1, 1, (tasks, K * each, SIDE, SIDE, 1)).astype(np.float32)
    return images, np.stack(
      [rng.permutation(np.repeat(np.arange(K, dtype=np.int32), each)) for _ in range(tasks)]
    )

  return Sequence(*part(num_tasks, 2), *part(1 if pieces else num_tasks, 3))


def constant(sequence: Sequence) -> Sequence:
  return Sequence(
    *(tf.constant(getattr(sequence, field.name)) for field in dataclasses.fields(sequence))
  )


def fed(sequence: Sequence) -> Sequence:
  """Placeholders of the same shapes."""
  return Sequence(*(tf.placeholder(x.dtype, x.shape) for x in dataclasses.astuple(sequence)))


def feed(places: Sequence, values: Sequence) -> dict[tf.Tensor, np.ndarray]:
  return {
    getattr(places, field.name): getattr(values, field.name) for field in dataclasses.fields(places)
  }


def learn(
  model: HyperTransformer, sequence: Sequence, scenario: str = CLASS, method: str = CHT, **changes
):
  return continual.learn_sequence(model, sequence, ContinualConfig(scenario, method, **changes))


def names() -> list[str]:
  return sorted(v.op.name for v in tf.global_variables())


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
  return tf.reduce_mean(
    tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
  )


@pytest.fixture(params=[0, 9], ids=['loop', 'unrolled'])
def unrolled_up_to(request, monkeypatch) -> int:
  """Both ways of going through the tasks."""
  monkeypatch.setattr(loops, 'UNROLLED_SCAN', request.param)
  monkeypatch.setattr(loops, 'UNROLLED_MAP', request.param)
  return request.param


# ---- the first task is the HyperTransformer's


@pytest.mark.parametrize(
  'settings',
  [
    {},
    CORRECTION,
    {'generator': 'separate'},
    {'allocation': 'output', 'features': FeatureConfig(layerwise=9)},
  ],
  ids=['spatial', 'added', 'separate', 'features wider than blocks'],
)
def test_the_first_task_is_the_hypertransformers(lab, settings, unrolled_up_to):
  """To the bit, with the same variables: theta_0 = 0 stands where the HyperTransformer has zeros."""
  model, sequence = model_of(**settings), constant(draw(2))
  weights = model.generate(Support(sequence.support_images[0], sequence.support_labels[0]))
  model.support_outputs(weights)
  plain = model.used_blocks(weights)
  before = names()
  outcome = learn(model, sequence)
  assert names() == before
  assert set(outcome.weights) == set(plain) == {'layer_2', 'layer_3', 'layer_4'}
  lab.fill()
  ours, plain = lab.run((outcome.weights, plain))
  for name, blocks in plain.items():
    np.testing.assert_array_equal(ours[name][0], blocks)


def test_the_loop_makes_the_variables_of_the_hypertransformer(lab, unrolled_up_to):
  """Also when it comes first, as in training."""
  learn(model_of(**CORRECTION), constant(draw(2)))
  ours = {v.op.name: v.shape.as_list() for v in tf.global_variables()}
  with tf.Graph().as_default():
    model, sequence = model_of(**CORRECTION), constant(draw(1))
    model.support_outputs(
      model.generate(Support(sequence.support_images[0], sequence.support_labels[0]))
    )
    assert {v.op.name: v.shape.as_list() for v in tf.global_variables()} == ours
  lab.run(tf.global_variables_initializer())


# ---- the recursion, against a loop in Python


def unrolled(model: HyperTransformer, sequence: Sequence, scenario: str) -> tf.Tensor:
  """J, spelled out."""
  previous, prototypes, terms = None, [], []
  num_tasks = sequence.support_images.shape[0]
  for t in range(num_tasks):
    labels = sequence.support_labels[t]
    weights = model.generate(Support(sequence.support_images[t], labels), previous=previous)
    outputs = model.support_outputs(weights)
    previous = model.used_blocks(weights)
    prototypes.append(
      [tf.reduce_mean(tf.boolean_mask(outputs, tf.equal(labels, k)), 0) for k in range(K)]
    )
    for tau in range(1 if scenario == PIECES else t + 1):
      x = model.classify(sequence.query_images[tau], weights).logits
      own = {
        TASK: prototypes[tau],
        CLASS: [c for task in prototypes for c in task],
        PIECES: [sum(c) / (t + 1) for c in zip(*prototypes, strict=True)],
      }[scenario]
      scores = tf.stack([-tf.reduce_sum((x - c) ** 2, 1) for c in own], 1)
      terms.append(
        cross_entropy(scores, sequence.query_labels[tau] + (tau * K if scenario == CLASS else 0))
      )
  return tf.add_n(terms) / len(terms)


@pytest.mark.parametrize(
  ('scenario', 'settings'),
  [(CLASS, {}), (TASK, ADDED), (PIECES, {'generator': 'separate'}), (CLASS, CORRECTION)],
  ids=['class', 'task, added', 'pieces, separate', 'class, all added'],
)
def test_loss_and_gradients_are_those_of_an_unrolled_loop(lab, scenario, settings, monkeypatch):
  monkeypatch.setattr(loops, 'UNROLLED_SCAN', 0)
  monkeypatch.setattr(loops, 'UNROLLED_MAP', 0)
  model, sequence = model_of(**settings), constant(draw(3, scenario == PIECES))
  outcome = learn(model, sequence, scenario)
  losses = [cross_entropy(outcome.logits, outcome.labels), unrolled(model, sequence, scenario)]
  variables = tf.trainable_variables()
  gradients = [[tf.convert_to_tensor(g) for g in tf.gradients(loss, variables)] for loss in losses]
  lab.fill()
  (ours, by_loop), (own, other) = lab.run((losses, gradients))
  assert ours == pytest.approx(by_loop, rel=1e-5)
  largest = max(np.abs(g).max() for g in other)
  for variable, one, expected in zip(variables, own, other, strict=True):
    np.testing.assert_allclose(
      one, expected, rtol=1e-3, atol=1e-5 * largest, err_msg=variable.op.name
    )


def test_the_gradient_of_the_last_task_reaches_all_generators_through_the_first(lab):
  """Of the loss after task 3 with respect to the support images of task 1: it can only go through
  theta.
  """
  model, places = model_of(), fed(draw(3))
  outcome = learn(model, places, TASK)
  last = [p for p, pair in enumerate(outcome.pairs) if pair == (2, 2)]
  loss = cross_entropy(tf.gather(outcome.logits, last), tf.gather(outcome.labels, last))
  (to_images,) = tf.gradients(loss, [places.support_images])
  variables = [v for v in tf.trainable_variables() if 'generator' in v.op.name]
  gradients = [tf.convert_to_tensor(g) for g in tf.gradients(loss, variables)]
  lab.fill()
  to_images, gradients = lab.run((to_images, gradients), feed(places, draw(3)))
  for task in range(3):
    assert np.abs(to_images[task]).max() > 1e-7
  assert [
    v.op.name for v, g in zip(variables, gradients, strict=True) if not np.abs(g).max() > 0
  ] == []


# ---- prototypes and scores


@pytest.mark.parametrize('method', CONTINUAL_METHODS)
@pytest.mark.parametrize('scenario', CONTINUAL_SCENARIOS)
def test_scores_by_hand(lab, scenario, method, unrolled_up_to):
  """From the weights after each task: every embedding by itself, prototypes and distances in NumPy."""
  values = draw(3, scenario == PIECES)
  model, sequence = model_of(**ADDED), constant(values)
  outcome = learn(model, sequence, scenario, method)

  def embed(images: tf.Tensor, t: int) -> tf.Tensor:
    return model.classify(
      images, model.with_blocks({name: w[t] for name, w in outcome.weights.items()})
    ).logits

  queries = [
    [embed(sequence.query_images[tau], t) for tau in range(len(values.query_images))]
    for t in range(3)
  ]
  if method == MERGED:  # all made anew, each support set as a batch by itself
    supports = [[embed(sequence.support_images[tau], t) for tau in range(t + 1)] for t in range(3)]
  else:
    supports = [embed(sequence.support_images[t], t) for t in range(3)]
  lab.fill()
  logits, labels, kept, queries, supports = lab.run(
    (outcome.logits, outcome.labels, outcome.prototypes, queries, supports)
  )

  def prototype(t: int, tau: int, k: int) -> np.ndarray:
    """c[tau, k] as known after task t."""
    outputs = supports[t][tau] if method == MERGED else supports[tau]
    return outputs[values.support_labels[tau] == k].mean(0)

  assert outcome.pairs == (
    [(0, 0), (1, 0), (2, 0)]
    if scenario == PIECES
    else [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]
  )
  for pair, (t, tau) in enumerate(outcome.pairs):
    own = {
      TASK: lambda t=t, tau=tau: [prototype(t, tau, k) for k in range(K)],
      CLASS: lambda t=t: [prototype(t, task, k) for task in range(t + 1) for k in range(K)],
      PIECES: lambda t=t: [
        np.mean([prototype(t, j, k) for j in range(t + 1)], 0) for k in range(K)
      ],
    }[scenario]()
    expected = [[-np.sum((x - c) ** 2) for c in own] for x in queries[t][tau]]
    np.testing.assert_allclose(logits[pair][:, : len(own)], expected, rtol=2e-4, atol=2e-4)
    assert (logits[pair][:, len(own) :] == UNKNOWN).all()
    np.testing.assert_array_equal(
      labels[pair], values.query_labels[tau] + (tau * K if scenario == CLASS else 0)
    )
  by_hand = [[prototype(2, tau, k) for k in range(K)] for tau in range(3)]
  np.testing.assert_allclose(kept, by_hand, rtol=2e-4, atol=2e-4)


def differing_in(task: int) -> tuple[Sequence, Sequence]:
  """Two sequences of two tasks that are equal but for the support images of one task."""
  first = draw(2)
  images = first.support_images.copy()
  images[task] = draw(2, seed=5).support_images[task]
  return first, dataclasses.replace(first, support_images=images)


def test_what_is_kept_of_a_task_does_not_depend_on_later_ones(lab):
  first, changed = differing_in(1)
  places = fed(first)
  outcome = learn(model_of(), places)
  lab.fill()
  fetches = outcome.prototypes, outcome.weights, outcome.logits
  (c, weights, logits), (other_c, other_weights, other_logits) = (
    lab.run(fetches, feed(places, values)) for values in (first, changed)
  )
  np.testing.assert_array_equal(c[0], other_c[0])
  np.testing.assert_array_equal(logits[0], other_logits[0])
  assert np.abs(c[1] - other_c[1]).max() > 1e-3
  for name, blocks in weights.items():
    np.testing.assert_array_equal(blocks[0], other_weights[name][0])
    assert np.abs(blocks[1] - other_weights[name][1]).max() > 1e-3


def test_weights_carry_what_earlier_tasks_gave(lab):
  """The second task's weights depend on the first task's support set; not so with no memory (merged
  of one task).
  """
  first, changed = differing_in(0)
  places = fed(first)
  outcome = learn(model_of(), places)
  lab.fill()
  one, other = (lab.run(outcome.weights, feed(places, values)) for values in (first, changed))
  assert all(np.abs(one[name][1] - other[name][1]).max() > 1e-4 for name in one)


@pytest.mark.parametrize('method', CONTINUAL_METHODS)
def test_one_task_is_the_same_in_both_scenarios(lab, method):
  model, sequence = model_of(), constant(draw(1))
  both = [learn(model, sequence, scenario, method).logits for scenario in (TASK, CLASS)]
  lab.fill()
  np.testing.assert_array_equal(*lab.run(both))


@pytest.mark.parametrize('method', CONTINUAL_METHODS)
def test_other_names_of_the_classes_permute_the_scores(lab, method):
  """Label k becomes order[k], of the support samples and in the tables of label embeddings."""
  values, order = draw(2), np.array([2, 0, 1])
  renamed = dataclasses.replace(
    values, support_labels=order[values.support_labels].astype(np.int32)
  )
  places = fed(values)
  outcome = learn(model_of(), places, TASK, method)
  v = lab.fill()
  plain = lab.run(outcome.logits, feed(places, values))
  tables = {name: value for name, value in v.items() if name.endswith('label_embeddings')}
  lab.load(
    {name: np.concatenate([table[np.argsort(order)], table[K:]]) for name, table in tables.items()}
  )
  permuted = lab.run(outcome.logits, feed(places, renamed))
  np.testing.assert_allclose(permuted[:, :, order], plain, rtol=1e-4, atol=1e-4)
  assert np.abs(permuted - plain).max() > 1e-3


# ---- the methods that it is compared with


def test_the_merged_one_is_a_hypertransformer_of_all_support_sets(lab):
  model, sequence = model_of(), constant(draw(3))
  outcome = learn(model, sequence, CLASS, MERGED)
  plain = [
    model.generate(
      Support(
        tf.reshape(sequence.support_images[: t + 1], [-1, SIDE, SIDE, 1]),
        tf.reshape(sequence.support_labels[: t + 1], [-1]),
      )
    ).layers
    for t in range(3)
  ]
  lab.fill()
  ours, plain = lab.run(
    (outcome.weights, [{name: w.blocks for name, w in one.items()} for one in plain])
  )
  for t, expected in enumerate(plain):
    for name, blocks in expected.items():
      np.testing.assert_allclose(ours[name][t], blocks, rtol=1e-4, atol=1e-5)


def test_the_merged_one_tells_the_classes_of_all_tasks_apart(lab):
  """Class k of task t is t * K + k for its generator, if that has so many."""
  model, sequence = model_of(support_classes=3 * K), constant(draw(2))
  outcome = learn(model, sequence, CLASS, MERGED)
  labels = tf.reshape(sequence.support_labels + K * np.arange(2, dtype=np.int32)[:, None], [-1])
  plain = model.generate(
    Support(tf.reshape(sequence.support_images, [-1, SIDE, SIDE, 1]), labels)
  ).layers
  lab.fill()
  ours, plain = lab.run((outcome.weights, {name: w.blocks for name, w in plain.items()}))
  for name, blocks in plain.items():
    np.testing.assert_allclose(ours[name][1], blocks, rtol=1e-4, atol=1e-5)


def test_the_merged_one_is_trained_on_all_its_labels(lab):
  """In training the numbers of the classes are drawn from all; those of a class stay together,
  others differ.
  """
  labels = tf.constant([0, 1, 2, 0, 1, 2])
  model = model_of(support_classes=5 * K)
  shown = lab.run(
    [continual._shown_labels(labels, model, Noise(tf.constant([1, seed]))) for seed in range(40)]
  )
  assert {label for one in shown for label in one} == set(range(5 * K))
  for one in shown:
    np.testing.assert_array_equal(one[:3], one[3:])
    assert len(set(one)) == 3


def test_the_merged_one_numbers_classes_in_order_without_noise(lab):
  """In the evaluator, and in the test episodes of training, whose noise is switched off."""
  labels, model = tf.constant([0, 1, 8]), model_of(support_classes=5 * K)
  for noise in (
    None,
    Noise(tf.constant([1, 2]), 0.0),
    Noise(tf.constant([1, 2]), tf.constant(0.0)),
  ):
    np.testing.assert_array_equal(lab.run(continual._shown_labels(labels, model, noise)), [0, 1, 8])


def test_the_merged_one_refuses_more_classes_than_it_has(lab):
  with pytest.raises(
    InputError, match='sequences of 3 tasks have 9 classes, more than the 6 that this merged'
  ):
    learn(model_of(support_classes=2 * K), constant(draw(3)), CLASS, MERGED)


def test_the_constant_protonet_generates_nothing(lab):
  outcome = learn(model_of(), constant(draw(2)), CLASS, PROTONET)
  assert outcome.weights == {}
  assert all(name.startswith('model/cnn/layer_') for name in names())
  assert {row.source for row in outcome.rows} == {'trained'}
  lab.fill()
  assert lab.run(outcome.logits).shape == (3, 3 * K, 2 * K)


@pytest.mark.parametrize('method', [CHT, MERGED])
def test_cross_entropy_has_the_cnns_logits(lab, method):
  model, sequence = model_of(embedding_units=0), constant(draw(2, pieces=True))
  outcome = learn(model, sequence, PIECES, method, loss='cross_entropy')
  assert outcome.prototypes is None
  expected = [
    model.classify(
      sequence.query_images[0],
      model.with_blocks({name: w[t] for name, w in outcome.weights.items()}),
    ).logits
    for t in range(2)
  ]
  lab.fill()
  ours, expected = lab.run((outcome.logits, expected))
  np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


# ---- which queries are asked, and in which batches


@pytest.mark.parametrize('method', CONTINUAL_METHODS)
@pytest.mark.parametrize('scenario', CONTINUAL_SCENARIOS)
def test_the_last_task_alone_is_the_end_of_all(lab, scenario, method):
  model, sequence = model_of(**ADDED), constant(draw(3, pieces=scenario == PIECES))
  config = ContinualConfig(scenario, method)
  every = continual.learn_sequence(model, sequence, config)
  last = continual.learn_sequence(model, sequence, config, last_only=True)
  assert last.pairs == [(t, tau) for t, tau in every.pairs if t == 2]
  lab.fill()
  every, last = lab.run(((every.logits, every.labels), (last.logits, last.labels)))
  for one, other in zip(every, last, strict=True):
    np.testing.assert_allclose(other, one[-len(other) :], rtol=1e-5, atol=1e-5)


def test_mixed_batches_have_images_of_every_task():
  after = np.array([0, 1, 1, 2, 2, 2])
  of = np.array([0, 0, 1, 0, 1, 2])
  batches = of[:, None] * 10 + np.arange(10)
  mixed, places = sequence_queries.mixed_batches(after, batches)
  np.testing.assert_array_equal(mixed.reshape(-1)[places], batches)
  for t in range(3):
    assert sorted(mixed[after == t].reshape(-1)) == list(range((t + 1) * 10))
    for batch in mixed[after == t]:
      shares = np.bincount(batch // 10, minlength=t + 1)
      assert shares.max() - shares.min() <= 1


@pytest.mark.parametrize('method', CONTINUAL_METHODS)
def test_mixed_queries_against_batches_by_hand(lab, method, unrolled_up_to):
  model, sequence = model_of(**ADDED), draw(2)
  outcome = learn(model, constant(sequence), CLASS, method, mixed_queries=True)
  own = learn(model, constant(sequence), CLASS, method)
  both = sequence.query_images.reshape(-1, SIDE, SIDE, 1)
  # Images 0, 2, .. of each task, turn and turn about, then 1, 3, ..
  order = [
    9 * task + number for start in (0, 1) for number in range(start, 9, 2) for task in (0, 1)
  ]
  weights = model.with_blocks({name: w[1] for name, w in outcome.weights.items()})
  by_hand = [
    model.classify(tf.constant(both[order[part]]), weights).logits
    for part in (slice(0, 9), slice(9, 18))
  ]
  known = tf.reshape(outcome.prototypes, [2 * K, UNITS])
  lab.fill()
  ours, plain, by_hand, known = lab.run((outcome.logits, own.logits, by_hand, known))
  outputs = np.empty((18, UNITS))
  outputs[order] = np.concatenate(by_hand)
  scores = -((outputs[:, None] - known[None]) ** 2).sum(-1)
  np.testing.assert_allclose(ours[1:].reshape(18, 2 * K), scores, rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(
    ours[0, :, :K], plain[0, :, :K], rtol=1e-5, atol=1e-5
  )  # one task: nothing to mix
  assert np.abs(ours[1:] - plain[1:]).max() > 1e-2


# ---- noise, size


def repeated(sequence: Sequence) -> Sequence:
  """The first task, twice."""
  return Sequence(
    *(
      np.stack([x[0], x[0]])
      for x in (getattr(sequence, f.name) for f in dataclasses.fields(sequence))
    )
  )


@pytest.mark.parametrize('method', [PROTONET, MERGED])
def test_dropout_is_drawn_anew_for_every_task_and_query_set(lab, method):
  """With two equal tasks, which without dropout have equal scores after the second."""
  model, sequence = model_of(cnn_dropout_rate=0.5), constant(repeated(draw(1)))
  config = ContinualConfig(TASK, method)
  plain, same = (continual.learn_sequence(model, sequence, config).logits for _ in range(2))
  noisy = continual.learn_sequence(model, sequence, config, Noise(tf.constant([1, 2]))).logits
  lab.fill()
  plain, same, noisy = lab.run((plain, same, noisy))
  np.testing.assert_array_equal(plain, same)
  np.testing.assert_allclose(
    plain[1], plain[2], rtol=1e-5, atol=1e-5
  )  # the same queries after task 2
  assert np.abs(noisy[1] - noisy[2]).max() > 1e-3
  assert np.abs(noisy[1] - plain[1]).max() > 1e-3


def test_noise_of_parts(lab):
  """What tasks and query sets draw from."""
  noise = Noise(tf.constant([1, 2]))
  parts = [noise.fold(0), noise.fold(tf.constant(0)), noise.fold(1), noise]
  one, same, other, whole = lab.run([part.uniform([100]) for part in parts])
  np.testing.assert_array_equal(one, same)
  for a, b in ((one, other), (one, whole), (other, whole)):
    assert np.abs(a - b).mean() > 0.2
  off = Noise(tf.constant([1, 2]), tf.constant(0.0)).fold(1)
  assert lab.run(off.rate(0.5)) == 0.0


def test_no_draw_of_a_part_is_a_draw_of_another(lab):
  """Parts of parts, as learning draws: three layers of three tasks."""
  noise = Noise(tf.constant([1, 2])).fold(0)
  parts = [noise, *(noise.fold(number) for number in range(3))]
  draws = lab.run([part.uniform([3]) for part in parts for _ in range(3)])
  assert len({tuple(each) for each in draws}) == 12


def size_of_graph(num_tasks: int, method: str) -> int:
  with tf.Graph().as_default() as graph:
    outcome = learn(model_of(), constant(draw(num_tasks)), CLASS, method)
    tf.gradients(cross_entropy(outcome.logits, outcome.labels), tf.trainable_variables())
    definition = graph.as_graph_def()
  return len(definition.node) + sum(
    len(function.node_def) for function in definition.library.function
  )


@pytest.mark.parametrize('method', CONTINUAL_METHODS)
def test_the_graph_does_not_grow_with_the_number_of_tasks(method):
  assert (
    size_of_graph(20, method) <= size_of_graph(7, method) + 5
  )  # beyond the few that are unrolled


def test_the_table_of_the_getter_is_complete(lab):
  outcome = learn(model_of(**ADDED), constant(draw(2)))
  sources: Callable[[str], set[str]] = lambda source: {  # noqa: E731
    f'{row.layer} {row.variable}' for row in outcome.rows if row.source == source
  }
  assert sources('both') == {
    'layer_2 conv/kernel',
    'layer_3 conv/kernel',
    'layer_4 logits/kernel',
    'layer_4 logits/bias',
  }
  assert 'layer_1 conv/kernel' in sources('trained')
