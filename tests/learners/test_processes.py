"""Learners in processes that were forked, or whose TensorFlow has other settings."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from typing import Any

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]

SCRIPT = """
import os, signal, sys
import numpy as np
import tensorflow as tf
tf.config.experimental.enable_op_determinism()
tf.compat.v1.set_random_seed(1)
tf.debugging.enable_check_numerics()
from hypertransformer import InputError
from hypertransformer.learners import FewShotLearner
data = np.load(sys.argv[2])
with FewShotLearner(sys.argv[1]) as learner:
  found = learner.fit(data['support'], data['labels']).scores(data['queries'])
  np.testing.assert_allclose(found, data['scores'], rtol=1e-4, atol=1e-4)
  child = os.fork()
  if child == 0:
    signal.alarm(30)
    for call in (lambda: learner.predict(data['queries']), lambda: FewShotLearner(sys.argv[1])):
      try:
        call()
      except InputError as error:
        if str(os.getpid()) in str(error) and str(os.getppid()) in str(error):
          continue
      os._exit(1)
    learner.close()
    os._exit(0)
  assert os.waitpid(child, 0)[1] == 0
"""


def test_settings_of_tensorflow_change_nothing_and_a_fork_says_so(
  few_shot_run: Any, learner: Any, make_task: Any, tmp_path: pathlib.Path
) -> None:
  task = make_task(0)
  scores = learner.fit(task.support, task.labels).scores(task.queries)
  np.savez(
    tmp_path / 'data.npz',
    support=task.support, labels=task.labels, queries=task.queries, scores=scores,
  )  # fmt: skip
  done = subprocess.run(
    [sys.executable, '-c', SCRIPT, few_shot_run.folder, tmp_path / 'data.npz'],
    capture_output=True, text=True, env=os.environ | {'PYTHONPATH': str(ROOT)},
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
