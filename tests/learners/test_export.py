"""The exported CNN: each format, read by its own runtime, gives the scores of the learner."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import zipfile

import numpy as np
import onnx
import pytest
import tensorflow as tf

from benchmarks import export as exported
from hypertransformer.errors import InputError
from hypertransformer.learners import FewShotLearner


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """Holds what benchmarks/export.py has written."""
  made = tmp_path_factory.mktemp('exported')
  done = subprocess.run(
    [sys.executable, exported.__file__, str(made)], capture_output=True, text=True, check=False
  )
  assert done.returncode == 0, done.stderr
  return made


@pytest.fixture(scope='module')
def answers(folder: pathlib.Path) -> dict[str, np.ndarray]:
  return dict(np.load(folder / 'answers.npz'))


@pytest.mark.parametrize(
  ('name', 'expected'),
  [
    *((name, 'learner') for name in exported.READERS if 'int8' not in name),
    ('continual.keras', 'continual'),
  ],
)
def test_each_format_gives_the_scores_of_the_learner(
  answers: dict[str, np.ndarray], name: str, expected: str
) -> None:
  """Of unseen drawings, most of them of classes that were not learned."""
  ours = answers[expected]
  np.testing.assert_allclose(answers[name], ours, rtol=1e-4, atol=1e-4 * np.abs(ours).max())
  np.testing.assert_array_equal(answers[name].argmax(1), ours.argmax(1))


def test_an_int8_file_is_smaller_and_nearly_as_good(
  folder: pathlib.Path, answers: dict[str, np.ndarray]
) -> None:
  small, whole = (folder / name for name in ('int8.tflite', 'cnn.tflite'))
  assert small.stat().st_size < 0.7 * whole.stat().st_size
  learned = slice(100)  # the drawings of the classes that were learned
  same = answers['int8.tflite'][learned].argmax(1) == answers['learner'][learned].argmax(1)
  assert same.mean() > 0.9


def test_the_class_names_are_in_the_file(folder: pathlib.Path) -> None:
  names = ''.join(f'{name}\n' for name in exported.NAMES)
  for file in ('cnn.keras', 'cnn.tflite'):
    with zipfile.ZipFile(folder / file) as archive:
      assert archive.read('labels.txt').decode() == names
  assert (folder / 'cnn' / 'assets.extra' / 'labels.txt').read_text() == names
  found = onnx.load(folder / 'cnn.onnx')
  assert json.loads(found.metadata_props[0].value) == exported.NAMES
  assert [each.name for each in found.graph.input] == ['images']


@pytest.fixture(scope='module')
def learner() -> FewShotLearner:
  with np.load(exported.DRAWINGS) as file, FewShotLearner.pretrained('omniglot_1shot') as opened:
    yield opened.fit(file['images'][:5, 0], exported.NAMES)


@pytest.mark.parametrize(
  ('name', 'int8', 'message'),
  [
    ('cnn.h5', False, r'cnn\.h5 has an unknown ending'),
    ('cnn.onnx', True, r'int8 requires a \.tflite file'),
    ('cnn.keras', False, 'graph mode'),
    ('file/cnn.npz', False, r'file/cnn\.npz'),
  ],
)
def test_what_cannot_be_exported_leaves_nothing(
  learner: FewShotLearner, tmp_path: pathlib.Path, name: str, int8: bool, message: str
) -> None:
  (tmp_path / 'file').write_text('a file')
  with tf.Graph().as_default(), pytest.raises(InputError, match=message):
    learner.export(tmp_path / name, int8)
  assert [path.name for path in tmp_path.iterdir()] == ['file']
