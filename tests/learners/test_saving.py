"""The file in which a ContinualLearner keeps what it has learned."""

from __future__ import annotations

import json
import os
import pathlib
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from hypertransformer.errors import InputError
from hypertransformer.settings.config import CONTINUAL_SCENARIOS

ROOT = pathlib.Path(__file__).resolve().parents[2]
TASK, CLASS, PIECES = CONTINUAL_SCENARIOS

# Run by another Python: loads what was learned, predicts, and learns one more task.
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
def test_another_process_goes_on_from_the_file(
  mode: str, make_task: Any, continual_run: Any, open_learner: Any, tmp_path: pathlib.Path
) -> None:
  """TensorFlow runs eagerly there, or as TensorFlow 1, and stays as it was."""
  learner, queries = open_learner(CLASS), make_task(0).queries
  for task, names in ((make_task(0), ['a', 1, 2.5]), (make_task(9), ['d', False, ''])):
    learner.learn(task.support, [names[y] for y in task.labels])
  files = tmp_path / 'learned.npz', tmp_path / 'queries.npy'
  learner.save(files[0])
  np.save(files[1], queries)
  command = [sys.executable, '-c', ELSEWHERE, mode, continual_run(CLASS).folder, *files]
  done = subprocess.run(
    command, capture_output=True, text=True, env=os.environ | {'PYTHONPATH': str(ROOT)}
  )
  assert done.returncode == 0, done.stderr
  found = json.loads(done.stdout)
  assert (found['first'], found['tasks']) == (learner.predict(queries).tolist(), 2)
  learner.learn(queries, list('ppqqqrrrp'))
  assert found['then'] == learner.predict(queries).tolist()
  np.testing.assert_allclose(found['scores'], learner.scores(queries), rtol=1e-5, atol=1e-5)


def test_what_is_loaded_is_what_was_saved(
  kind: tuple[str, dict[str, Any]], make_task: Any, open_learner: Any, tmp_path: pathlib.Path
) -> None:
  scenario, changes = kind
  learner, other = open_learner(scenario, **changes), open_learner(scenario, **changes)
  learner.learn(*make_task(0).support_set())
  path = tmp_path / 'new folder' / 'learned'
  learner.save(str(path))
  assert list(path.parent.iterdir()) == [path]
  other.learn(*make_task(9).support_set(20))
  other.load(path)
  task = 0 if scenario == TASK else None
  for one in (learner, other):
    if scenario != PIECES:
      one.learn(*make_task(9).support_set(10))
  np.testing.assert_array_equal(
    other.scores(make_task(0).queries, task), learner.scores(make_task(0).queries, task)
  )
  np.testing.assert_array_equal(other.labels(task), learner.labels(task))


def test_invalid_files_are_refused(
  make_task: Any, open_learner: Any, tmp_path: pathlib.Path
) -> None:
  learner = open_learner(TASK)
  learner.learn(*make_task(0).support_set())
  with pytest.raises(InputError, match='cannot write'):
    learner.save(__file__ + '/below a file')
  scores = learner.scores(make_task(0).queries, 0)
  good = tmp_path / 'good.npz'
  learner.save(good)
  with np.load(good) as file:
    arrays = {name: file[name] for name in file.files}

  def written(name: str, **changes: Any) -> pathlib.Path:
    """Writes the file again with other arrays; None leaves one out."""
    path = tmp_path / f'{name}.npz'
    np.savez(path, **{k: value for k, value in (arrays | changes).items() if value is not None})
    return path

  (tmp_path / 'cut').write_bytes(good.read_bytes()[:-300])
  other = open_learner(CLASS)
  other.learn(*make_task(0).support_set())
  other.save(tmp_path / 'other.npz')
  for path in (
    tmp_path / 'none',
    tmp_path,
    tmp_path / 'cut',
    tmp_path / 'other.npz',
    written('pickle', about=np.array([{}], object)),
    written('lacks', prototypes=None),
    written('json', about=np.array('3')),
    written('units', prototypes=np.zeros((1, 3, 5), np.float32)),
    written('more', prototypes=np.zeros((2, 3, 4), np.float32)),
    written('text', prototypes=np.full((1, 3, 4), 'a')),
    written('block', layer_3=np.zeros((1, 1))),
  ):
    with pytest.raises(InputError, match=re.escape(str(path))):
      learner.load(path)
  for use in (learner.load, learner.save, lambda path: learner.export(path, 0)):
    with pytest.raises(InputError, match=r'gs://b/x\.npz is not a local path'):
      use('gs://b/x.npz')
  np.testing.assert_array_equal(learner.scores(make_task(0).queries, 0), scores)
  learner.learn(make_task(0).support, [('a', int(y)) for y in make_task(0).labels])
  before = good.read_bytes()
  with pytest.raises(InputError, match=r"\('a', \d\)"):
    learner.save(good)
  assert good.read_bytes() == before
