"""FewShotLearner is as good as the evaluator says, and its results do not depend on names."""

from __future__ import annotations

import copy
import pathlib
import pickle
import shutil
import warnings
from concurrent import futures
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.data.folder import DataFolder
from hypertransformer.episodes.sampling import EpisodeSampler
from hypertransformer.errors import InputError
from hypertransformer.evaluation.evaluator import FIRST_STREAM, Evaluator
from hypertransformer.evaluation.presets import Preset
from hypertransformer.learners import FewShotLearner
from hypertransformer.settings import flags

SEED = 7
ROOT = pathlib.Path(__file__).resolve().parents[2]
PRETRAINED = 'omniglot_1shot'


@pytest.mark.parametrize(('theirs', 'ours'), [('batch', 'query'), ('support', 'support')])
def test_it_is_as_good_as_the_evaluator_says(
  theirs: str, ours: str, few_shot_run: Any, data_folder: pathlib.Path
) -> None:
  """Support sets and query batches are the evaluator's; accuracies are equal to the last image."""
  values = few_shot_run.values
  preset = Preset('all', 'tiny', DataFolder(str(data_folder)).open('tiny:0-29'))
  settings = flags.settings_from(
    {**values, 'num_task_evals': 12, 'seed': SEED, 'query_statistics': theirs}
  )
  learner = FewShotLearner(few_shot_run.folder, batch_statistics=ours)
  config = settings.evaluation
  evaluator = Evaluator(settings, [preset])
  evaluator.restore(learner.checkpoint)
  found = evaluator.evaluate('all')
  expected = found.cells[:, 0, 0]
  evaluator.close()
  assert (theirs == 'support') == np.array_equal(found.inductive, expected.astype(np.float32))
  sampler = EpisodeSampler(
    preset.class_set,
    flags.settings_from({**values, 'samples_cnn': config.batch_size}).episodes,
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
  learner.close()
  assert len(np.unique(expected)) > 3


@pytest.mark.parametrize('names', [['a', 'b', 'c'], [('x', 1), None.__class__, 'c'], [0.5, 'b', 3]])
def test_other_names_of_the_classes_change_nothing_else(
  learner: FewShotLearner, make_task: Any, names: list[Any]
) -> None:
  """With permuted names, permuted names are predicted, and the scores are the same bit for bit."""
  task = make_task(6)
  named = learner.fit(task.support, [names[y] for y in task.labels])
  scores, predicted = named.scores(task.queries), named.predict(task.queries)
  columns = list(named.labels())
  assert columns == [names[y] for y in dict.fromkeys(task.labels.tolist())]
  assert list(predicted) == [columns[best] for best in scores.argmax(axis=1)]
  order = [2, 0, 1]
  permuted = learner.fit(task.support, [names[order[y]] for y in task.labels])
  np.testing.assert_array_equal(permuted.scores(task.queries), scores)
  assert list(permuted.predict(task.queries)) == [
    names[order[names.index(name)]] for name in predicted
  ]


def test_weights_are_those_of_the_cnn_generated_or_trained(
  learner: FewShotLearner, make_task: Any
) -> None:
  one, other = make_task(0), make_task(9)
  first = learner.fit(one.support, one.labels).weights()
  second = learner.fit(other.support, other.labels).weights()
  assert first['layer_3/conv/kernel'].shape == (2, 2, 2, 2)
  assert first['layer_4/logits/kernel'].shape == (2, 3)
  changed = {
    name
    for name, value in first.items()
    if (value != second[name]).any() and not name.endswith(('/mean', '/variance'))
  }
  assert changed == {'layer_3/conv/kernel', 'layer_4/logits/kernel', 'layer_4/logits/bias'}
  saved = tf.train.load_checkpoint(learner.checkpoint)
  np.testing.assert_array_equal(
    first['layer_1/conv/kernel'], saved.get_tensor('model/cnn_query/layer_1/conv/kernel')
  )


def test_attention_is_that_of_each_generator_to_the_support_images(
  learner: FewShotLearner, make_task: Any
) -> None:
  """An image that every generator sees twice gets the same attention twice.

  Classes count equally, as in `fit`: a class with half as many images gets the same attention.
  """
  task = make_task(0)
  images = np.concatenate([task.support, task.support[:1]])
  found = learner.attention(images, [*task.labels, task.labels[0]])
  twice = learner.attention(*(np.concatenate([each, each]) for each in task.support_set()))
  once = np.append(np.arange(len(task.labels)), np.flatnonzero(task.labels > 0))
  uneven = learner.attention(task.support[once], task.labels[once])
  for name, blocks in twice.items():
    for block, other in zip(blocks, uneven[name], strict=True):
      for label in range(3):
        expected = block[..., np.tile(task.labels, 2) == label].sum(-1)
        at_all = other[..., task.labels[once] == label].sum(-1)
        np.testing.assert_allclose(at_all, expected, rtol=1e-3)
  assert list(found) == learner.generated_layers()
  for blocks in found.values():
    assert {block.shape[2] for block in blocks} == {len(images)}
    for block in blocks:
      np.testing.assert_allclose(block[..., 0], block[..., -1], rtol=1e-4)
      assert ((block >= 0) & (block <= 1)).all()
      assert np.ptp(block) > 0


def test_before_fit_everything_is_refused(few_shot_run: Any) -> None:
  with FewShotLearner(few_shot_run.folder) as fresh:
    images = np.zeros((6, 12, 12, 1), np.uint8)
    for call, *arguments in (
      (fresh.predict, images), (fresh.scores, images), (fresh.labels,), (fresh.weights,),
    ):  # fmt: skip
      with pytest.raises(InputError, match='fit'):
        call(*arguments)


def test_fewer_classes_than_trained_are_told_apart_and_no_other_is_predicted(
  learner: FewShotLearner, make_task: Any
) -> None:
  task = make_task(0)
  two = task.labels < 2
  learner.fit(task.support[two], task.labels[two])
  assert learner.labels().tolist() == [0, 1]
  assert learner.scores(task.queries).shape == (len(task.queries), 2)
  assert set(learner.predict(task.queries)) <= {0, 1}


def test_a_prediction_does_not_depend_on_other_images_unless_asked_for(
  learner: FewShotLearner, few_shot_run: Any, make_task: Any
) -> None:
  task = make_task(0)
  learner.fit(task.support, task.labels)
  together = learner.scores(task.queries)
  alone = np.concatenate([learner.scores(image[None]) for image in task.queries])
  np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-4)
  with FewShotLearner(few_shot_run.folder, batch_statistics='query') as published:
    published.fit(task.support, task.labels)
    assert np.abs(published.scores(task.queries[:1]) - alone[:1]).max() > 1e-3
  with pytest.raises(InputError, match='batch_statistics'):
    FewShotLearner(few_shot_run.folder, batch_statistics='batch')


def test_the_statistics_are_those_of_the_support_set_with_the_weights_for_queries(
  learner: FewShotLearner, make_task: Any
) -> None:
  """Of the images as they are and shifted by a pixel (a tenth of 12) in four directions."""
  task = make_task(0)
  weights = learner.fit(task.support, task.labels).weights()
  moves = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))
  images = np.concatenate([np.roll(task.support, move, (1, 2)) for move in moves]) / 128 - 1
  with tf.Graph().as_default(), tf.Session() as session:
    x = tf.nn.conv2d(np.float32(images), weights['layer_1/conv/kernel'], 2, 'VALID')
    mean, variance = session.run(tf.nn.moments(tf.nn.leaky_relu(x, 0.01), [0, 1, 2]))
  count = np.prod(x.shape[:3])
  np.testing.assert_allclose(weights['layer_1/batch_norm/mean'], mean, rtol=1e-4, atol=1e-5)
  np.testing.assert_allclose(
    weights['layer_1/batch_norm/variance'], variance * count / (count - 1), rtol=1e-4, atol=1e-5
  )


@pytest.mark.parametrize('sizes', [(3, 1, 1), (3, 2, 1)])
def test_classes_with_fewer_images_count_as_much_as_others(
  learner: FewShotLearner, make_task: Any, sizes: tuple[int, ...]
) -> None:
  """Their images are repeated up to the size of the largest class."""
  task = make_task(0)
  rows = [np.flatnonzero(task.answers == k)[:size] for k, size in enumerate(sizes)]
  scores = [
    learner.fit(task.queries[index], task.answers[index]).scores(task.support)
    for index in (np.sort(np.concatenate(each)) for each in (rows, [np.resize(r, 3) for r in rows]))
  ]
  np.testing.assert_array_equal(*scores)


def test_what_fit_returns_is_not_changed_by_a_later_fit(
  learner: FewShotLearner, make_task: Any
) -> None:
  """Threads that share one learner get their own names; closing one learner closes all."""
  task = make_task(0)

  def one_user(number: int) -> list[Any]:
    fitted = learner.fit(task.support, task.labels + 10 * number)
    return [fitted.predict(task.queries) // 10 for _ in range(20)]

  with futures.ThreadPoolExecutor(4) as pool:
    for number, found in enumerate(pool.map(one_user, range(12))):
      assert np.unique(found).tolist() == [number]
  one, other = (learner.fit(task.support, task.labels + first) for first in (0, 3))
  assert (one.labels().tolist(), other.labels().tolist()) == ([0, 1, 2], [3, 4, 5])
  assert learner.labels().tolist() == [3, 4, 5]


@pytest.mark.parametrize(
  'duplicate', [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))]
)
def test_a_copy_knows_the_same_and_has_a_session_of_its_own(
  duplicate: Any, few_shot_run: Any, make_task: Any, tmp_path: pathlib.Path
) -> None:
  task, folder = make_task(0), shutil.copytree(few_shot_run.folder, tmp_path / 'run')
  with FewShotLearner(folder, batch_statistics='query') as first:
    first.fit(task.support, task.labels)
    expected, stored = first.scores(task.queries), pickle.dumps(first)
    second = duplicate(first)
  with pytest.raises(InputError, match='closed'):
    duplicate(first)
  with second:
    np.testing.assert_array_equal(second.scores(task.queries), expected)
  for end in ('.index', '.data-00000-of-00001'):
    shutil.copy(folder / f'model-20{end}', folder / f'model-30{end}')
  with pytest.raises(InputError, match='no longer the model'):
    pickle.loads(stored)


@pytest.mark.parametrize('inverted', [False, True])
def test_inverted_ink_is_warned_of(inverted: bool) -> None:
  """Of a packaged model, whose card says how bright the training data was."""
  drawings = np.load(ROOT / 'examples/data/omniglot_unseen.npz')['images'][:3]
  drawings = 255 - drawings if inverted else drawings
  with warnings.catch_warnings(record=True) as caught, FewShotLearner.pretrained(PRETRAINED) as one:
    warnings.simplefilter('always')
    one.fit(drawings[:, 0], [0, 1, 2]).predict(drawings[:1, 1])
  texts = [str(each.message) for each in caught if each.category is UserWarning]
  assert [text[:13] for text in texts] == ['The support i', 'The query ima'] * inverted
  assert all('255 - images' in text for text in texts)
