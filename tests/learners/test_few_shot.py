"""FewShotLearner is as good as the evaluator says, and its results do not depend on names."""

from __future__ import annotations

import pathlib
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


def test_it_is_as_good_as_the_evaluator_says(
  few_shot_run: Any, learner: FewShotLearner, data_folder: pathlib.Path
) -> None:
  """Support sets and query batches are the evaluator's; accuracies are equal to the last image."""
  values = few_shot_run.values
  preset = Preset('all', 'tiny', DataFolder(str(data_folder)).open('tiny:0-29'))
  settings = flags.settings_from({**values, 'num_task_evals': 12, 'seed': SEED})
  config = settings.evaluation
  evaluator = Evaluator(settings, [preset])
  evaluator.restore(learner.checkpoint)
  expected = evaluator.evaluate('all').cells[:, 0, 0]
  evaluator.close()
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
  changed = {name for name, value in first.items() if (value != second[name]).any()}
  assert changed == {'layer_3/conv/kernel', 'layer_4/logits/kernel', 'layer_4/logits/bias'}
  saved = tf.train.load_checkpoint(learner.checkpoint)
  np.testing.assert_array_equal(
    first['layer_1/conv/kernel'], saved.get_tensor('model/cnn_query/layer_1/conv/kernel')
  )


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


def test_a_small_batch_is_classified_together_with_the_support_images(
  learner: FewShotLearner, make_task: Any
) -> None:
  """A batch larger than the support set is by itself."""
  task = make_task(0)
  learner.fit(task.support, task.labels)
  together = learner.scores(np.concatenate([task.support, task.queries[:1]]), bare=True)[-1:]
  np.testing.assert_allclose(learner.scores(task.queries[:1]), together, rtol=1e-5, atol=1e-5)
  bare = learner.scores(task.queries[:1], bare=True)
  assert np.abs(bare - together).max() > 1e-4
  larger = task.queries[: len(task.support) + 1]
  np.testing.assert_array_equal(learner.scores(larger), learner.scores(larger, bare=True))
