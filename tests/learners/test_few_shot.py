"""FewShotLearner: against the evaluator, under other names, and everything that it refuses."""

from __future__ import annotations

import json
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.datasets.folder import DataFolder
from hypertransformer.episodes.sampling import EpisodeSampler
from hypertransformer.errors import InputError
from hypertransformer.evaluation.evaluator import FIRST_STREAM
from hypertransformer.evaluation.presets import Preset
from hypertransformer.evaluation.task_evaluator import TaskEvaluator
from hypertransformer.learners import ContinualLearner, FewShotLearner
from hypertransformer.settings import from_flags

SEED = 7


@pytest.fixture(scope='module')
def run(
  tmp_path_factory: pytest.TempPathFactory,
  make_values: Callable[..., Any],
  run_training: Callable[[Any], int],
) -> Any:
  """Everything that makes the support pass and the query pass differ; (folder, values)."""
  folder = tmp_path_factory.mktemp('few shot')
  values = make_values(
    train_log_dir=str(folder),
    train_steps=30,
    steps_between_saves=20,
    seed=1,
    warmup_steps=4,
    add_trainable_weights=True,
    separate_evaluation_bn_vars=True,
    cnn_activation='lrelu',
    shared_feature_extractor='2-layer',
    shared_features_dim=4,
  )
  run_training(values)
  return folder, values


@pytest.fixture(scope='module')
def learner(run: Any) -> Any:
  with FewShotLearner(run[0]) as opened:
    yield opened


def test_it_is_as_good_as_the_evaluator_says(
  run: Any, learner: FewShotLearner, data_folder: pathlib.Path
) -> None:
  """The accuracy of every task, to the last image: support set and query batches of the evaluator's
  own draws.
  """
  _, values = run
  preset = Preset('all', 'tiny', DataFolder(str(data_folder)).open('tiny:0-29'))
  config = from_flags.eval_config({**values, 'num_task_evals': 12})
  evaluator = TaskEvaluator(
    from_flags.model_config(values),
    from_flags.episode_config(values),
    from_flags.test_augmentation(values),
    values['image_size'],
    [preset],
    config,
    SEED,
  )
  evaluator.restore(learner.checkpoint)
  expected = evaluator.evaluate('all').accuracy
  evaluator.close()
  sampler = EpisodeSampler(
    preset.class_set,
    from_flags.episode_config({**values, 'samples_cnn': config.batch_size}),
    SEED,
    FIRST_STREAM,
    config.num_batches,
  )
  gather = preset.class_set.arrays.gather
  for number, accuracy in enumerate(expected):
    draw = sampler.draw(number)
    learner.fit(gather(draw.support_rows), draw.support_labels)
    hits = [
      learner.predict(gather(rows)) == answers
      for rows, answers in zip(
        draw.query_rows.reshape(config.num_batches, -1),
        draw.query_positions.reshape(config.num_batches, -1),
        strict=True,
      )
    ]
    assert np.mean(hits) == pytest.approx(accuracy, abs=1e-6)
  assert len(np.unique(expected)) > 3


def test_newest_checkpoint_of_a_folder_or_a_given_one(run: Any, make_task: Any) -> None:
  folder, _ = run
  task = make_task(0)
  scores = []
  for path in (folder, str(folder / 'model-30'), folder / 'model-20'):
    with FewShotLearner(path) as one:
      scores.append(one.fit(task.support, task.labels).scores(task.queries))
  np.testing.assert_array_equal(scores[0], scores[1])
  assert np.abs(scores[0] - scores[2]).max() > 1e-3


def test_what_a_learner_says_of_itself(run: Any, learner: FewShotLearner) -> None:
  assert learner.checkpoint == str(run[0] / 'model-30')
  assert (learner.num_labels, learner.image_shape) == (3, (12, 12, 1))


# ---- labels


def test_labels_come_back_in_the_callers_terms(learner: FewShotLearner, make_task: Any) -> None:
  task = make_task(3)
  plain = learner.fit(task.support, task.labels).predict(task.queries)
  assert plain.dtype.kind == 'i'
  assert len(np.unique(plain)) > 1
  for given, kind in (
    ((task.labels * 10 - 5).astype(np.int8), 'i'),
    ([np.int16(y) for y in task.labels + 7], 'i'),
  ):
    found = learner.fit(task.support, given).predict(task.queries)
    assert found.dtype.kind == kind
    np.testing.assert_array_equal(learner.labels(), np.unique(given))
    np.testing.assert_array_equal(found, np.unique(given)[plain])  # whole numbers by size


@pytest.mark.parametrize(
  'names',
  [['a', 'b', 'c'], [('x', 1), None.__class__, 'c'], [0.5, 'b', 3]],
  ids=['text', 'objects', 'mixed'],
)
def test_other_names_of_the_classes_change_nothing_else(
  learner: FewShotLearner, make_task: Any, names: list[Any]
) -> None:
  """Permuted names are predicted permuted, to the last bit of the scores."""
  task = make_task(6)
  named = learner.fit(task.support, [names[y] for y in task.labels])
  scores, predicted, columns = (
    named.scores(task.queries),
    named.predict(task.queries),
    list(named.labels()),
  )
  assert columns == [names[y] for y in dict.fromkeys(task.labels.tolist())]
  assert list(predicted) == [columns[best] for best in scores.argmax(axis=1)]
  order = [2, 0, 1]
  permuted = learner.fit(task.support, [names[order[y]] for y in task.labels])
  np.testing.assert_array_equal(permuted.scores(task.queries), scores)
  assert list(permuted.predict(task.queries)) == [
    names[order[names.index(name)]] for name in predicted
  ]


# ---- images


def test_kinds_of_images_that_are_the_same(learner: FewShotLearner, make_task: Any) -> None:
  task = make_task(9)
  expected = learner.fit(task.support, task.labels).scores(task.queries)
  for convert in (
    lambda x: x.astype(np.float64),
    lambda x: x[..., 0],
    lambda x: x.astype(np.int64),
    lambda x: x.astype(np.float32)[..., 0],
    lambda x: x.tolist(),
  ):
    learner.fit(convert(task.support), task.labels.tolist())
    np.testing.assert_array_equal(learner.scores(convert(task.queries)), expected)


def test_images_are_taken_as_a_batch(learner: FewShotLearner, make_task: Any) -> None:
  """Batch norm: an image's scores depend on the others. The docstring says so."""
  task = make_task(9)
  learner.fit(task.support, task.labels)
  together, alone = learner.scores(task.queries)[:1], learner.scores(task.queries[:1])
  assert np.abs(together - alone).max() > 1e-4
  assert 'depends on the others' in str(FewShotLearner.__doc__)


def test_the_weights_are_those_of_the_cnn(learner: FewShotLearner, make_task: Any) -> None:
  one, other = make_task(0), make_task(9)
  first = learner.fit(one.support, one.labels).weights()
  second = learner.fit(other.support, other.labels).weights()
  assert first['layer_3/conv/kernel'].shape == (2, 2, 2, 2)
  assert first['layer_4/logits/kernel'].shape == (2, 3)
  changed = {name for name, value in first.items() if (value != second[name]).any()}
  assert changed == {'layer_3/conv/kernel', 'layer_4/logits/kernel', 'layer_4/logits/bias'}
  saved = tf.train.load_checkpoint(learner.checkpoint)
  np.testing.assert_array_equal(
    first['layer_1/conv/kernel'], saved.get_tensor('model/cnn_query/layer_1/conv/kernel')
  )


def test_several_learners_at_once(run: Any, learner: FewShotLearner, make_task: Any) -> None:
  one, other = make_task(0), make_task(9)
  expected = [learner.fit(task.support, task.labels).scores(task.queries) for task in (one, other)]
  with FewShotLearner(run[0]) as a, FewShotLearner(run[0]) as b:
    a.fit(one.support, one.labels)
    b.fit(other.support, other.labels)
    np.testing.assert_array_equal(a.scores(one.queries), expected[0])
    np.testing.assert_array_equal(b.scores(other.queries), expected[1])
  b.close()
  with pytest.raises(InputError, match='the learner is closed'):
    b.predict(other.queries)


# ---- refusals

IMAGES = np.zeros((6, 12, 12, 1), np.uint8) + np.arange(6, dtype=np.uint8)[:, None, None, None]
NAN = np.where(np.arange(6)[:, None, None, None] == 3, np.nan, IMAGES)


@pytest.mark.parametrize(
  ('images', 'message'),
  [
    (
      np.zeros((6, 28, 28, 1), np.uint8),
      r'the shape \[6, 28, 28, 1\]; .* \[n, 12, 12, 1\]: resize images to 12 x 12',
    ),
    (
      np.zeros((6, 12, 12, 3), np.uint8),
      r'\[6, 12, 12, 3\].*: give images with 1 channels \(grey\)',
    ),
    (IMAGES[0], r'the shape \[12, 12, 1\].*: of a single image make a batch by image\[None\]'),
    (IMAGES[0, :, :, 0], r'the shape \[12, 12\].*image\[None\]'),
    (np.zeros((0, 12, 12, 1), np.uint8), 'are empty'),
    ([], r'the shape \[0\]'),
    (
      IMAGES / 255.0,
      r'are in 0\.\.0\.0196\d*, as if white were 1; expected 0..255: multiply them by 255',
    ),
    (IMAGES / 128.0 - 1, 'are in -1..-0.9.*; expected pixels in 0..255, not normalised'),
    (IMAGES.astype(np.int32) * 100, r'are in 0..500; expected pixels in 0..255'),
    (NAN, 'hold values that are no numbers'),
    (np.where(np.isnan(NAN), np.inf, NAN), 'hold values that are no numbers'),
    (IMAGES > 2, 'are bool; expected numbers 0..255, such as uint8: multiply them by 255'),
    (IMAGES.astype(str), 'expected numbers 0..255'),
    (IMAGES.astype(complex), 'are complex128; expected numbers 0..255'),
    (IMAGES.astype(object), 'are object; expected numbers 0..255'),
    ([IMAGES[0], IMAGES[1, :5]], 'have images of different shapes'),
    (None, 'are object; expected numbers'),
  ],
)
def test_images_that_are_refused(
  learner: FewShotLearner, make_task: Any, images: Any, message: str
) -> None:
  with pytest.raises(InputError, match=f'^support images .*{message}'):
    learner.fit(images, [0, 0, 1, 1, 2, 2])
  task = make_task(0)
  learner.fit(task.support, task.labels)
  with pytest.raises(InputError, match=f'^query images .*{message}'):
    learner.predict(images)


@pytest.mark.parametrize(
  ('labels', 'message'),
  [
    ([0, 0, 0, 1, 1, 1], r'of 2 classes \(0, 1\); this model tells exactly 3 apart'),
    ([0, 1, 2, 3, 4, 5], r'of 6 classes \(0, 1, 2, 3, 4, ...\); this model tells exactly 3'),
    ([0, 0, 1, 1, 2], 'there are 5 labels for 6 images'),
    ([], 'there are 0 labels for 6 images'),
    (
      np.eye(3)[[0, 0, 1, 1, 2, 2]],
      r'labels have the shape \[6, 3\]; expected one label per image, \[6\]',
    ),
    ('aabbcc', "labels are 'aabbcc'; expected a list"),
    (3, 'labels are 3; expected a list'),
    (None, 'labels are None; expected a list'),
    ([0, 0, 1, 1, 2, [2]], r'label 5 is \[2\]; expected something that can be told apart'),
    ([0, 0, 1, 1, 2, None], 'label 5 is None; every image needs a label'),
    (np.array([0, 0, 1, 1, 2, np.nan]), 'label 5 is nan; every image needs a label'),
  ],
)
def test_labels_that_are_refused(learner: FewShotLearner, labels: Any, message: str) -> None:
  with pytest.raises(InputError, match=message):
    learner.fit(IMAGES, labels)


def test_a_refused_support_set_leaves_the_one_before(
  learner: FewShotLearner, make_task: Any
) -> None:
  task = make_task(0)
  expected = learner.fit(task.support, task.labels).scores(task.queries)
  with pytest.raises(InputError):
    learner.fit(task.support, [0] * 6)
  np.testing.assert_array_equal(learner.scores(task.queries), expected)


def test_nothing_before_fit(run: Any) -> None:
  with FewShotLearner(run[0]) as fresh:
    for call in (
      lambda: fresh.predict(IMAGES),
      lambda: fresh.scores(IMAGES),
      fresh.labels,
      fresh.weights,
    ):
      with pytest.raises(InputError, match='nothing is learned yet: call fit'):
        call()


def damaged(run: Any, folder: pathlib.Path, **changes: Any) -> pathlib.Path:
  """A copy of the run; changes: of its flags, None takes the flag out of the file."""
  shutil.copytree(run[0], folder)
  values = {**json.loads((folder / 'flags.json').read_text()), **changes}
  (folder / 'flags.json').write_text(json.dumps(values))
  return folder


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'embedding_dim': 3}, 'and the flags.json beside it are not of the same model'),
    ({'image_size': '12'}, "flags.json: image_size is '12', which is no value of that flag"),
    ({'cnn_activation': 'tanh'}, "flags.json: cnn_activation is 'tanh'"),
    ({'num_labels': 1}, 'num_labels is 1'),
    ({'pretrain_shared_feature': True}, 'holds pre-trained shared features only'),
  ],
)
def test_flags_that_are_refused(
  run: Any, tmp_path: pathlib.Path, changes: dict[str, Any], message: str
) -> None:
  with pytest.raises(InputError, match=message):
    FewShotLearner(damaged(run, tmp_path / 'copy', **changes))


def test_flags_that_are_younger_than_the_run_have_their_defaults(
  run: Any, tmp_path: pathlib.Path
) -> None:
  folder = damaged(run, tmp_path / 'copy')
  values = json.loads((folder / 'flags.json').read_text())
  del values['continual_scenario'], values['generated_weight_scale']
  (folder / 'flags.json').write_text(json.dumps({**values, 'of_tomorrow': 1}))
  FewShotLearner(folder).close()


def test_checkpoints_that_are_refused(run: Any, tmp_path: pathlib.Path, continual_run: Any) -> None:
  copy = damaged(run, tmp_path / 'copy')
  (tmp_path / 'empty').mkdir()
  (copy / 'model-20.data-00000-of-00001').write_bytes(b'cut')
  continual = continual_run('class_incremental').folder
  for opened, path, message in (
    (FewShotLearner, tmp_path / 'empty', r'empty holds no readable checkpoint model-<step>'),
    (
      FewShotLearner,
      tmp_path / 'none',
      r'checkpoint=.*none is not there \(.*none.index is missing',
    ),
    (
      FewShotLearner,
      copy / 'model-30.index',
      r'in that folder: model-0, model-20, model-30\).* without .index',
    ),
    (FewShotLearner, copy / 'model-20', 'cannot be read, half-written or damaged'),
    (
      FewShotLearner,
      continual,
      'trained with continual_scenario=class_incremental: open it by ContinualLearner',
    ),
    (ContinualLearner, copy, 'trained without --continual_scenario: open it by FewShotLearner'),
  ):
    with pytest.raises(InputError, match=message):
      opened(path)
  (copy / 'flags.json').write_text('[1]')
  with pytest.raises(InputError, match='holds no flag values'):
    FewShotLearner(copy)
  (copy / 'flags.json').write_text('{')
  with pytest.raises(InputError, match='cannot be read as JSON'):
    FewShotLearner(copy)
  (copy / 'flags.json').unlink()
  with pytest.raises(InputError, match=r'flags.json is missing: it says which model'):
    FewShotLearner(copy)
