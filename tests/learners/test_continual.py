"""ContinualLearner: against learn_sequence, the file that it writes, and everything that it
refuses.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.episodes import sequences
from hypertransformer.errors import InputError
from hypertransformer.learners import ContinualLearner
from hypertransformer.model.continual import learn_sequence
from hypertransformer.model.hypertransformer import HyperTransformer
from hypertransformer.model.prototypes import UNKNOWN
from hypertransformer.settings import from_flags

ROOT = pathlib.Path(__file__).resolve().parents[2]
TASK, CLASS, PIECES = 'task_incremental', 'class_incremental', 'mini_batch'
FIRST = [0, 9, 15, 24]  # class of `tiny` with which each task begins
K = 3

KINDS = {
  'task incremental': (TASK, {}),
  'class incremental': (CLASS, {}),
  'pieces': (PIECES, {}),
  'logits': (PIECES, {'continual_loss': 'cross_entropy'}),
  'protonet': (CLASS, {'continual_method': 'constant_protonet'}),
}


@pytest.fixture
def open_learner(continual_run: Any) -> Iterator[Callable[..., ContinualLearner]]:
  """open_learner(scenario, **changes): a fresh one, closed at the end."""
  opened = []

  def make(scenario: str, **changes: Any) -> ContinualLearner:
    opened.append(ContinualLearner(continual_run(scenario, **changes).folder))
    return opened[-1]

  yield make
  for learner in opened:
    learner.close()


def in_the_graph(run: Any, tasks: list[Any]) -> Any:
  """learn_sequence's pairs, logits, weights and prototypes of these tasks with the run's
  checkpoint.
  """
  config = from_flags.continual_config(run.values)
  assert config is not None

  def stack(field: str) -> tf.Tensor:
    values = np.stack([getattr(task, field) for task in tasks])
    if config.scenario == PIECES and field in ('queries', 'answers'):
      values = values[:1]
    return tf.constant(
      values / 128 - 1 if values.ndim > 2 else values, tf.float32 if values.ndim > 2 else tf.int32
    )

  with tf.Graph().as_default(), tf.Session() as session:
    sequence = sequences.Sequence(*map(stack, ('support', 'labels', 'queries', 'answers')))
    outcome = learn_sequence(
      HyperTransformer(from_flags.model_config(run.values), (12, 12, 1)), sequence, config
    )
    tf.train.Saver().restore(session, tf.train.latest_checkpoint(str(run.folder)))
    kept = [] if outcome.prototypes is None else outcome.prototypes
    return (outcome.pairs, *session.run((outcome.logits, outcome.weights, kept)))


@pytest.mark.parametrize('kind', KINDS)
def test_it_is_learn_sequence_one_step_at_a_time(
  kind: str, continual_run: Any, make_task: Any, open_learner: Any
) -> None:
  """The same predictions exactly, and the same numbers, on a sequence longer than those of
  training.
  """
  scenario, changes = KINDS[kind]
  run, learner = continual_run(scenario, **changes), open_learner(scenario, **changes)
  tasks = [make_task(0 if scenario == PIECES else first, seed) for seed, first in enumerate(FIRST)]
  pairs, logits, weights, kept = in_the_graph(run, tasks)
  answers = []
  for t, task in enumerate(tasks):
    learner.learn(task.support, task.labels + (K * t if scenario == CLASS else 0))
    assert learner.num_tasks == t + 1
    for pair, (after, tau) in enumerate(pairs):
      if after == t:
        which = tau if scenario == TASK else None
        scores, expected = learner.scores(tasks[tau].queries, which), logits[pair]
        np.testing.assert_allclose(scores, expected[:, : scores.shape[1]], rtol=1e-5, atol=1e-5)
        assert (expected[:, scores.shape[1] :] == UNKNOWN).all()
        predicted = learner.predict(tasks[tau].queries, which)
        np.testing.assert_array_equal(predicted, expected.argmax(axis=1))
        answers.append(predicted)
    if weights:
      model = HyperTransformer(from_flags.model_config(run.values), (12, 12, 1))
      layout = next(plan.layout for plan in model.plans if plan.name == 'layer_3')
      block = learner.weights()['layer_3/conv/kernel'].reshape(-1, layout.num_blocks).T  # type: ignore[union-attr]
      np.testing.assert_allclose(block, weights['layer_3'][t], rtol=1e-5, atol=1e-6)
  if changes.get('continual_loss') != 'cross_entropy':
    np.testing.assert_allclose(learner.prototypes(), kept, rtol=1e-5, atol=1e-5)
  assert len(np.unique(answers)) > 2


def test_later_tasks_change_weights_but_no_earlier_prototype(
  make_task: Any, open_learner: Any
) -> None:
  learner = open_learner(TASK)
  learner.learn(*_support(make_task(0)))
  prototypes, weights = learner.prototypes(), learner.weights()
  learner.learn(*_support(make_task(9)))
  np.testing.assert_array_equal(learner.prototypes()[:1], prototypes)
  assert learner.prototypes().shape == (2, K, 4)
  changed = {name for name, value in learner.weights().items() if (value != weights[name]).any()}
  assert changed == {'layer_3/conv/kernel', 'layer_4/logits/kernel', 'layer_4/logits/bias'}


def _support(task: Any, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
  return task.support, task.labels + first


def test_permuted_names_are_predicted_permuted(make_task: Any, open_learner: Any) -> None:
  one, other = open_learner(CLASS), open_learner(CLASS)
  names, order = np.array(list('abcdef')), np.array([2, 0, 1, 5, 3, 4])
  for t, first in enumerate((0, 9)):
    task = make_task(first)
    one.learn(task.support, names[task.labels + K * t])
    other.learn(task.support, names[order[task.labels + K * t]])
  predicted = one.predict(make_task(0).queries)
  assert set(predicted) & set('abc')
  np.testing.assert_array_equal(
    other.predict(make_task(0).queries), names[order[np.searchsorted(names, predicted)]]
  )
  np.testing.assert_array_equal(
    other.scores(make_task(0).queries), one.scores(make_task(0).queries)
  )


def test_what_can_be_predicted(make_task: Any, open_learner: Any) -> None:
  of_task, of_class, pieces = open_learner(TASK), open_learner(CLASS), open_learner(PIECES)
  for t in range(2):
    task = make_task(9 * t)
    of_task.learn(task.support, np.array(['x', 'y', 'z'])[task.labels])
    of_class.learn(*_support(task, 10 * t))
    pieces.learn(*_support(make_task(0), 5))
  assert sorted(of_task.labels(1)) == ['x', 'y', 'z']
  assert of_class.labels().tolist() == [0, 1, 2, 10, 11, 12]
  assert pieces.labels().tolist() == [5, 6, 7]
  assert set(of_task.predict(make_task(9).queries, np.int64(1))) <= set('xyz')
  assert [one.scenario for one in (of_task, of_class, pieces)] == [TASK, CLASS, PIECES]


# ---- the file

ELSEWHERE = """
import json, sys
import numpy as np
import tensorflow as tf
if sys.argv[1] == 'tf1':
  tf.compat.v1.disable_v2_behavior()
eager = tf.executing_eagerly()
from hypertransformer.learners import ContinualLearner
with ContinualLearner(sys.argv[2]) as learner:
  learner.load(sys.argv[3])
  queries = np.load(sys.argv[4])
  found = {'first': learner.predict(queries).tolist(), 'tasks': learner.num_tasks}
  learner.learn(queries, list('ppqqqrrrp'))
  found |= {'then': learner.predict(queries).tolist(), 'scores': learner.scores(queries).tolist()}
assert tf.executing_eagerly() == eager == (sys.argv[1] == 'eager')
assert isinstance(tf.TensorShape([1])[0], int) == eager
print(json.dumps(found))
"""


@pytest.mark.parametrize('mode', ['eager', 'tf1'])
def test_another_process_goes_on(
  mode: str, make_task: Any, continual_run: Any, open_learner: Any, tmp_path: pathlib.Path
) -> None:
  """In which TensorFlow runs eagerly, or as TensorFlow 1; both stay as they were."""
  learner, queries = open_learner(CLASS), make_task(0).queries
  names: list[Any] = ['a', 1, 2.5, 'd', False, '']
  for t in range(2):
    task = make_task(9 * t)
    learner.learn(task.support, [names[K * t + y] for y in task.labels])
  learner.save(tmp_path / 'learned.npz')
  np.save(tmp_path / 'queries.npy', queries)
  done = subprocess.run(
    [
      sys.executable,
      '-c',
      ELSEWHERE,
      mode,
      str(continual_run(CLASS).folder),
      str(tmp_path / 'learned.npz'),
      str(tmp_path / 'queries.npy'),
    ],
    capture_output=True,
    text=True,
    check=False,
    timeout=300,
    env=os.environ | {'PYTHONPATH': str(ROOT)},
  )
  assert done.returncode == 0, done.stderr
  found = json.loads(done.stdout)
  assert (found['first'], found['tasks']) == (learner.predict(queries).tolist(), 2)
  learner.learn(queries, list('ppqqqrrrp'))
  assert found['then'] == learner.predict(queries).tolist()
  np.testing.assert_allclose(found['scores'], learner.scores(queries), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('kind', KINDS)
def test_save_and_load(
  kind: str, make_task: Any, open_learner: Any, tmp_path: pathlib.Path
) -> None:
  scenario, changes = KINDS[kind]
  learner, other = open_learner(scenario, **changes), open_learner(scenario, **changes)
  learner.learn(*_support(make_task(0)))
  path = tmp_path / 'new folder' / 'learned'
  learner.save(str(path))
  assert list(path.parent.iterdir()) == [path]
  other.learn(*_support(make_task(9), 20))
  other.load(path)
  task = 0 if scenario == TASK else None
  for one in (learner, other):
    if scenario != PIECES:
      one.learn(*_support(make_task(9), 10))
  np.testing.assert_array_equal(
    other.scores(make_task(0).queries, task), learner.scores(make_task(0).queries, task)
  )
  np.testing.assert_array_equal(other.labels(task), learner.labels(task))


def test_a_failed_save_keeps_the_file_before(
  make_task: Any, open_learner: Any, tmp_path: pathlib.Path
) -> None:
  learner, path = open_learner(TASK), tmp_path / 'learned.npz'
  learner.learn(*_support(make_task(0)))
  learner.save(path)
  before = path.read_bytes()
  learner.learn(make_task(0).support, [('a', int(y)) for y in make_task(0).labels])
  with pytest.raises(
    InputError, match=r"label \('a', \d\) cannot be saved: only whole numbers, text"
  ):
    learner.save(path)
  assert path.read_bytes() == before
  with pytest.raises(InputError, match='cannot write'):
    open_and_learned(open_learner, make_task).save(path / 'below a file')


def open_and_learned(open_learner: Any, make_task: Any) -> ContinualLearner:
  learner = open_learner(TASK)
  learner.learn(*_support(make_task(0)))
  return learner


def rewritten(source: pathlib.Path, path: pathlib.Path, **changes: Any) -> pathlib.Path:
  with np.load(source) as file:
    arrays = {name: file[name] for name in file.files}
  np.savez(path, **{name: value for name, value in (arrays | changes).items() if value is not None})
  return path


def test_files_that_are_refused(make_task: Any, open_learner: Any, tmp_path: pathlib.Path) -> None:
  learner = open_and_learned(open_learner, make_task)
  scores = learner.scores(make_task(0).queries, 0)
  good = tmp_path / 'good.npz'
  learner.save(good)
  about = json.loads(str(np.load(good)['about']))
  (tmp_path / 'text').write_text('no archive')
  (tmp_path / 'cut').write_bytes(good.read_bytes()[:-300])
  np.save(tmp_path / 'array.npy', np.zeros(3))
  np.savez(tmp_path / 'pickle.npz', about=np.array([{}], object))
  other = open_learner(CLASS)
  other.learn(*_support(make_task(0)))
  other.save(tmp_path / 'other.npz')

  def changed(name: str, **changes: Any) -> pathlib.Path:
    return rewritten(good, tmp_path / f'{name}.npz', **changes)

  not_written = 'was not written by ContinualLearner.save(), or is damaged'
  for path, message in (
    (tmp_path / 'none', 'there is no file'),
    (tmp_path, not_written),
    (tmp_path / 'text', not_written),
    (tmp_path / 'cut', not_written),
    (tmp_path / 'array.npy', not_written),
    (tmp_path / 'pickle.npz', not_written),
    (changed('lacks', prototypes=None), not_written),
    (changed('number', prototypes=np.array(3)), not_written),
    (changed('json', about=np.array('3')), not_written),
    (changed('later', about=np.array(json.dumps({**about, 'version': 2}))), 'is of version 2'),
    (tmp_path / 'other.npz', 'was saved by a learner of another checkpoint'),
    (
      changed('wide', prototypes=np.zeros((1, 4, 4), np.float32)),
      'its arrays are not those of its model',
    ),
    (
      changed('units', prototypes=np.zeros((1, 3, 5), np.float32)),
      'its arrays are not those of its model',
    ),
    (
      changed('more', prototypes=np.zeros((2, 3, 4), np.float32)),
      'its arrays are not those of its model',
    ),
    (changed('text', prototypes=np.full((1, 3, 4), 'a')), 'its arrays are not those of its model'),
    (
      rewritten(good, tmp_path / 'block.npz', **{'blocks/layer_3': np.zeros((1, 1))}),
      'its arrays are not those',
    ),
  ):
    with pytest.raises(InputError) as caught:
      learner.load(path)
    assert message in str(caught.value), path
    assert str(path) in str(caught.value)
  np.testing.assert_array_equal(learner.scores(make_task(0).queries, 0), scores)


# ---- refusals


def test_nothing_before_learn(open_learner: Any, make_task: Any, tmp_path: pathlib.Path) -> None:
  learner = open_learner(CLASS)
  images = make_task(0).queries
  for call in (
    lambda: learner.predict(images),
    lambda: learner.scores(images),
    learner.labels,
    learner.weights,
    learner.prototypes,
    lambda: learner.save(tmp_path / 'x'),
  ):
    with pytest.raises(InputError, match='nothing is learned yet: call learn'):
      call()
  assert learner.num_tasks == 0
  assert not (tmp_path / 'x').exists()


@pytest.mark.parametrize(
  ('scenario', 'task', 'message'),
  [
    (TASK, None, r'task is not given: .*0\.\.0'),
    (TASK, 1, r'task is 1; tasks 0\.\.0 are learned so far'),
    (TASK, -1, 'task is -1'),
    (TASK, 0.0, r'task is 0\.0'),
    (TASK, False, 'task is False'),
    (TASK, '0', "task is '0'"),
    (CLASS, 0, 'task is 0, but with continual_scenario=class_incremental .* leave it out'),
    (PIECES, 0, 'task is 0, but with continual_scenario=mini_batch'),
  ],
)
def test_tasks_that_are_refused(
  open_learner: Any, make_task: Any, scenario: str, task: Any, message: str
) -> None:
  learner = open_learner(scenario)
  learner.learn(*_support(make_task(0)))
  for call in (lambda: learner.predict(make_task(0).queries, task), lambda: learner.labels(task)):
    with pytest.raises(InputError, match=message):
      call()


def test_classes_that_are_refused(open_learner: Any, make_task: Any) -> None:
  of_class, pieces = open_learner(CLASS), open_learner(PIECES)
  for learner, first, message in (
    (
      of_class,
      2,
      'label 2 was learned in task 0 already: with continual_scenario=class_incremental',
    ),
    (pieces, 1, r'label 3 is not among the classes of the first piece \(0, 1, 2\)'),
  ):
    learner.learn(*_support(make_task(0)))
    with pytest.raises(InputError, match=message):
      learner.learn(*_support(make_task(9), first))
    with pytest.raises(InputError, match='of 2 classes'):
      learner.learn(make_task(9).support, [7, 7, 7, 8, 8, 8])
    with pytest.raises(InputError, match=r'support images are in .* multiply them by 255'):
      learner.learn(make_task(9).support / 255, [7, 7, 8, 8, 9, 9])
    assert learner.num_tasks == 1


def test_no_prototypes_of_logits(open_learner: Any, make_task: Any) -> None:
  learner = open_learner(PIECES, continual_loss='cross_entropy')
  learner.learn(*_support(make_task(0)))
  with pytest.raises(InputError, match='has no prototypes'):
    learner.prototypes()


def test_the_merged_method_cannot_learn_one_after_the_other(
  continual_run: Any, tmp_path: pathlib.Path
) -> None:
  run = continual_run(CLASS)
  copy = shutil.copytree(run.folder, tmp_path / 'copy')
  (copy / 'flags.json').write_text(
    json.dumps({**run.values, 'continual_method': 'merged_hypertransformer'})
  )
  with pytest.raises(
    InputError, match='merged_hypertransformer, which needs the images of all tasks at once'
  ):
    ContinualLearner(copy)
