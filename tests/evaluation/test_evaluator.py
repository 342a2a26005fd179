"""The evaluator on single tasks, against logits computed batch by batch from the same draws."""

from __future__ import annotations

import collections
import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.data.arrays import ClassSet
from hypertransformer.data.folder import DataFolder
from hypertransformer.episodes.sampling import Draw, EpisodeSampler
from hypertransformer.errors import InputError
from hypertransformer.evaluation.evaluator import Evaluator
from hypertransformer.evaluation.presets import Preset
from hypertransformer.model.hypertransformer import HyperTransformer, Support
from hypertransformer.settings import flags

TASKS, BATCHES, BATCH = 5, 4, 6
SEED = 11


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory, tiny: np.ndarray) -> DataFolder:
  """A data folder with `tiny`, and with `pairs`, of two samples per class.

  In `pairs`, every query image is a support image.
  """
  path = tmp_path_factory.mktemp('eval_data')
  np.save(path / 'tiny.npy', tiny)
  np.save(path / 'pairs.npy', tiny[:, :2])
  return DataFolder(str(path))


@pytest.fixture(scope='module')
def presets(folder: DataFolder) -> list[Preset]:
  return [
    Preset(name, dataset, folder.open(dataset))
    for name, dataset in (
      ('val', 'tiny:20-24'),
      ('mine, all: "ö"', 'tiny:0-29'),
      ('pairs', 'pairs:0-9'),
    )
  ]


@pytest.fixture(scope='module')
def values(make_values: Callable[..., Any], trained: Any) -> dict[str, Any]:
  return trained.values | {
    'num_task_evals': TASKS,
    'num_eval_batches': BATCHES,
    'eval_batch_size': BATCH,
  }


def make_evaluator(values: dict[str, Any], presets: list[Preset]) -> Evaluator:
  return Evaluator(flags.settings_from(values | {'seed': SEED}), presets)


@pytest.fixture(scope='module')
def evaluator(values: dict[str, Any], presets: list[Preset], trained: Any) -> Any:
  """An evaluator that has restored the last checkpoint of a short run with dropout."""
  made = make_evaluator(values, presets)
  made.restore(str(trained.folder / 'model-6'))
  yield made
  made.close()


@pytest.fixture(scope='module')
def by_hand(
  values: dict[str, Any], presets: list[Preset], trained: Any
) -> list[list[tuple[Draw, np.ndarray]]]:
  """The draw of each task of each preset, and its logits [BATCHES, BATCH, K], batch by batch."""
  config = dataclasses.replace(flags.settings_from(values).episodes, query_samples=BATCH)
  with tf.Graph().as_default(), tf.Session() as session:
    model = HyperTransformer(flags.settings_from(values).model, (12, 12, 1))
    support = tf.placeholder(tf.float32, [6, 12, 12, 1])
    labels = tf.placeholder(tf.int32, [6])
    query = tf.placeholder(tf.float32, [BATCH, 12, 12, 1])
    logits = model.classify(query, model.generate(Support(support, labels))).logits
    tf.train.Saver().restore(session, str(trained.folder / 'model-6'))

    def images(preset: Preset, rows: np.ndarray) -> np.ndarray:
      return preset.class_set.arrays.gather(rows).astype(np.float32) / 128 - 1

    def task(preset: Preset, draw: Draw) -> tuple[Draw, np.ndarray]:
      fed = {support: images(preset, draw.support_rows), labels: draw.support_labels}
      return draw, np.stack(
        [
          session.run(logits, {**fed, query: images(preset, rows)})
          for rows in draw.query_rows.reshape(BATCHES, BATCH)
        ]
      )

    return [
      [
        task(
          preset,
          EpisodeSampler(preset.class_set, config, SEED, 2 + number, BATCHES, evaluation=True).draw(
            index
          ),
        )
        for index in range(TASKS)
      ]
      for number, preset in enumerate(presets)
    ]


def expected_scores(by_hand: list[tuple[Draw, np.ndarray]]) -> tuple[list[float], list[float]]:
  accuracy, disjoint = [], []
  for draw, logits in by_hand:
    right = [
      int(np.argmax(row)) == label
      for row, label in zip(logits.reshape(-1, 3), draw.query_positions, strict=True)
    ]
    support = set(draw.support_rows.tolist())
    outside = [
      hit for hit, row in zip(right, draw.query_rows.tolist(), strict=True) if row not in support
    ]
    accuracy.append(sum(right) / len(right))
    disjoint.append(sum(outside) / len(outside) if outside else np.nan)
  return accuracy, disjoint


@pytest.mark.parametrize('number', [0, 1, 2])
def test_accuracies_are_those_of_the_logits_batch_by_batch(
  evaluator: Evaluator,
  presets: list[Preset],
  by_hand: list[list[tuple[Draw, np.ndarray]]],
  number: int,
) -> None:
  scores = evaluator.evaluate(presets[number].name)
  accuracy, disjoint = expected_scores(by_hand[number])
  np.testing.assert_allclose(scores.cells[:, 0, 0], accuracy, atol=1e-6)
  np.testing.assert_allclose(scores.disjoint, disjoint, atol=1e-6)


def test_answers_are_counted_by_the_classes_of_the_dataset(
  evaluator: Evaluator,
  values: dict[str, Any],
  presets: list[Preset],
  trained: Any,
  by_hand: list[list[tuple[Draw, np.ndarray]]],
) -> None:
  """Only with --per_class, and nothing else changes."""
  made = make_evaluator(values | {'per_class': True}, presets[:1])
  made.restore(str(trained.folder / 'model-6'))
  scores, plain = made.evaluate('val'), evaluator.evaluate('val')
  made.close()
  for with_classes, without in zip(scores[:3], plain[:3], strict=True):
    np.testing.assert_array_equal(with_classes, without)
  assert (plain.per_class, scores.per_class is None) == (None, False)
  count, available = collections.Counter(), collections.Counter()
  for draw, logits in by_hand[0]:
    predicted = logits.reshape(-1, 3).argmax(-1)
    for label, answer in zip(draw.query_positions, predicted, strict=True):
      true = int(draw.classes[label])
      count[true, int(draw.classes[answer])] += 1
      available.update((true, int(other)) for other in draw.classes)
  pairs = scores.per_class['pairs']
  keys = list(zip(pairs['true'], pairs['predicted'], strict=True))
  assert dict(zip(keys, pairs['available'], strict=True)) == {
    key: number for key, number in available.items() if key[0] != key[1]
  }
  assert pairs['count'] == [count[key] for key in keys]
  assert sum(pairs['count']) > 0
  classes = scores.per_class['classes']
  assert classes['queries'] == [available[number, number] for number in classes['class']]
  assert classes['accuracy'] == pytest.approx(
    [count[number, number] / available[number, number] for number in classes['class']]
  )


def test_the_presets_are_different_enough_to_find_errors(
  by_hand: list[list[tuple[Draw, np.ndarray]]],
) -> None:
  """Tasks differ, overlap matters, and all query images of `pairs` are support images."""
  accuracy, disjoint = expected_scores(by_hand[0])
  assert len(set(accuracy)) > 1
  assert accuracy != disjoint
  assert not np.isnan(disjoint).any()
  assert np.isnan(expected_scores(by_hand[2])[1]).all()


def test_only_the_preset_train_has_the_augmentation_of_training(
  values: dict[str, Any], folder: DataFolder, trained: Any
) -> None:
  """All images are negatives in training and none in the test, so the comparison is exact."""
  classes = folder.open('tiny:0-29')
  scores = {}
  for training, test in ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)):
    changed = values | {'negate_probability': training, 'test_negate_probability': test}
    for name in ('train', 'test'):
      made = make_evaluator(changed | {'num_task_evals': 20}, [Preset(name, 'tiny', classes)])
      made.restore(str(trained.folder / 'model-6'))
      scores[name, training, test] = made.evaluate(name).cells.tolist()
      made.close()
  plain, negative = scores['test', 0.0, 0.0], scores['test', 1.0, 1.0]
  assert plain != negative
  assert scores['test', 1.0, 0.0] == scores['train', 0.0, 0.0] == plain
  assert scores['train', 1.0, 0.0] == scores['train', 1.0, 1.0] == negative


def test_the_same_tasks_at_every_call_and_progress_is_told(evaluator: Evaluator) -> None:
  told: list[tuple[int, float]] = []
  first = evaluator.evaluate('val', lambda done, mean: told.append((done, mean)))
  evaluator.evaluate('pairs')
  again = evaluator.evaluate('val')
  np.testing.assert_array_equal(first.cells, again.cells)
  assert [done for done, _ in told] == [1, 2, 3, 4, 5]
  assert [mean for _, mean in told] == pytest.approx(
    [first.cells[:done].mean() for done in range(1, 6)]
  )


def test_pictures_are_of_the_first_task_and_change_nothing(
  evaluator: Evaluator, by_hand: list[list[tuple[Draw, np.ndarray]]]
) -> None:
  before = evaluator.evaluate('val')
  summary = evaluator.pictures('val')
  np.testing.assert_array_equal(evaluator.evaluate('val').cells, before.cells)
  images = {value.tag for value in summary.value if value.HasField('image')}
  layers = ('layer_3', 'layer_4')
  assert images == {'episode/val', 'confusion/val'} | {
    f'{what}/val/{layer}' for what in ('kernels', 'attention') for layer in layers
  }
  changes = {value.tag: value.simple_value for value in summary.value if value.tag not in images}
  assert set(changes) == {f'kernel_change/val/{layer}' for layer in layers}
  assert all(change > 0 for change in changes.values()), 'another task, other kernels'
  draw, logits = by_hand[0][0]
  (shown,) = evaluator._run('val', evaluator._shown, 1)
  np.testing.assert_array_equal(shown['query_labels'], draw.query_positions)
  np.testing.assert_array_equal(shown['predicted'], logits.argmax(-1).reshape(-1))


def test_another_checkpoint_gives_another_result(evaluator: Evaluator, trained: Any) -> None:
  """What is measured is what was restored last."""
  before = evaluator.evaluate('mine, all: "ö"')
  evaluator.restore(str(trained.folder / 'model-0'))
  other = evaluator.evaluate('mine, all: "ö"')
  evaluator.restore(str(trained.folder / 'model-6'))
  assert not np.array_equal(before.cells, other.cells)
  np.testing.assert_array_equal(evaluator.evaluate('mine, all: "ö"').cells, before.cells)


@pytest.mark.parametrize('added', [False, True])
def test_trained_variables_of_the_query_pass_are_restored(
  values: dict[str, Any], presets: list[Preset], tmp_path: pathlib.Path, added: bool
) -> None:
  """They are made inside the loop over batches, and are those of a graph without the loop."""
  settings = values | {
    'separate_evaluation_bn_vars': True,
    'number_of_trained_cnn_layers': 1,
    'add_trainable_weights': added,
  }
  evaluator = make_evaluator(settings, presets)
  with tf.Graph().as_default(), tf.Session() as session:
    model = HyperTransformer(flags.settings_from(settings).model, (12, 12, 1))
    support = Support(tf.zeros([6, 12, 12, 1]), tf.zeros([6], tf.int32))
    model.classify(tf.zeros([BATCH, 12, 12, 1]), model.generate(support))
    expected = {v.op.name: v.shape.as_list() for v in tf.global_variables()}
    session.run(tf.global_variables_initializer())
    prefix = tf.train.Saver().save(session, str(tmp_path / 'model'))
  assert 'model/cnn_query/layer_1/conv/kernel' in expected
  assert ('model/cnn_query/layer_3/conv/kernel' in expected) == added
  assert {v.op.name: v.shape.as_list() for v in evaluator.variables} == expected
  evaluator.restore(prefix)
  assert np.isfinite(evaluator.evaluate('val').cells).all()
  evaluator.close()


def test_only_the_models_variables_are_restored(evaluator: Evaluator) -> None:
  """The step, the shared head and the optimizer's variables may be missing in an import."""
  assert {v.op.name.split('/')[0] for v in evaluator.variables} == {'model'}


def test_presets_of_different_channels_are_refused(
  values: dict[str, Any], presets: list[Preset], tmp_path: pathlib.Path, tiny: np.ndarray
) -> None:
  np.save(tmp_path / 'coloured.npy', np.repeat(tiny, 3, axis=-1))
  coloured = Preset('coloured', 'coloured:0-9', DataFolder(str(tmp_path)).open('coloured:0-9'))
  with pytest.raises(InputError, match=r'eval_datasets have \[1, 3\] channels'):
    make_evaluator(values, [presets[0], coloured])


def test_a_preset_with_too_few_samples_is_refused(
  values: dict[str, Any], presets: list[Preset]
) -> None:
  with pytest.raises(InputError, match='tiny:20-24 have too few images'):
    make_evaluator(values | {'eval_batch_size': 27}, presets[:1])


def test_a_preset_with_too_few_classes_is_refused(
  values: dict[str, Any], folder: DataFolder
) -> None:
  few = ClassSet(folder.open('tiny:0-9').arrays, np.array([1, 2]))
  with pytest.raises(InputError, match=r'2 classes.* num_labels=3'):
    make_evaluator(values, [Preset('few', 'tiny:1-2', few)])
