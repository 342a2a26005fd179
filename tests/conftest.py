"""What all tests share: graph mode, data, flag values of a small model, a run, logged lines."""

from __future__ import annotations

import ast
import dataclasses
import os
import pathlib
import shlex
import signal
import struct
import subprocess
from collections.abc import Callable
from typing import Any

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
# One thread for an operation, as in our programs; two tests at a time share the cores.
os.environ.setdefault('TF_NUM_INTRAOP_THREADS', '1')

import hypothesis
import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from absl import logging

from hypertransformer.__main__ import COMMANDS
from hypertransformer.settings import flags
from hypertransformer.training import hooks, loop
from tests import warm

tf.disable_eager_execution()
subprocess.Popen = warm.Popen  # type: ignore[misc]
# Programs leave these ignored if the tests are, as in the background of a shell.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
  signal.signal(signal.SIGINT, signal.default_int_handler)
# Property tests: the same examples in every run, none kept on disk, and no limit of time.
hypothesis.settings.register_profile('tests', deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile('tests')

TINY_CLASSES, TINY_SAMPLES, TINY_SIDE = 30, 8, 12

# Flags of a small run on `tiny`. Two of three convolutions are trained; the third and the logits
# layer are generated, so that graphs take only seconds to build.
MINIMAL = {
  'num_labels': 3,
  'samples_transformer': 6,
  'samples_cnn': 9,
  'balanced_batches': True,
  'image_size': TINY_SIDE,
  'train_dataset': 'tiny:0-19',
  'test_dataset': 'tiny:20-29',
  'smooth_probability': 0.0,
  'contrast_probability': 0.0,
  'kernel_size': 2,
  'stride': 2,
  'default_num_channels': 2,
  'embedding_dim': 2,
  'num_layers': 1,
  'heads': 1,
  'num_layerwise_features': '2',
  'number_of_trained_cnn_layers': 2,
  'lw_weight_allocation': 'output',
  'learning_rate': 0.05,
  'train_steps': 3,
  'num_task_evals': 4,
  'num_eval_batches': 2,
  'eval_batch_size': 9,
}

Values = dict[str, Any]  # the value of every flag by its name
PACKAGE = pathlib.Path(__file__).parents[1] / 'hypertransformer'


@pytest.fixture(scope='session')
def examples() -> Callable[[str], list[list[str]]]:
  """examples(command) returns the examples in the --help of a command, as words."""

  def read(command: str) -> list[list[str]]:
    source = PACKAGE / (COMMANDS[command][0].replace('.', '/') + '.py')
    text = (ast.get_docstring(ast.parse(source.read_text())) or '').replace('\\\n', ' ')
    start = f'  hypertransformer {command} '
    lines = (f'{line} ' for line in text.splitlines())
    return [shlex.split(line)[1:] for line in lines if line.startswith(start)]

  return read


def _tiny_images() -> np.ndarray:
  """Makes images, uint8 [30, 8, 12, 12, 1]: each class has a pattern, each image its own noise.

  No two images are equal, also not after quarter turns.
  """
  rng = np.random.default_rng(5)
  patterns = rng.integers(0, 180, (TINY_CLASSES, 1, TINY_SIDE, TINY_SIDE, 1))
  noise = rng.integers(0, 76, (TINY_CLASSES, TINY_SAMPLES, TINY_SIDE, TINY_SIDE, 1))
  return (patterns + noise).astype(np.uint8)


@pytest.fixture(scope='session')
def tiny() -> np.ndarray:
  """The images of the dataset `tiny`, uint8 [classes, samples, H, W, C]."""
  return _tiny_images()


@pytest.fixture(scope='session')
def data_folder(tmp_path_factory: pytest.TempPathFactory, tiny: np.ndarray) -> pathlib.Path:
  """A folder for --data_numpy_dir that holds tiny.npy."""
  folder = tmp_path_factory.mktemp('data')
  np.save(folder / 'tiny.npy', tiny)
  return folder


@pytest.fixture(scope='session')
def make_values(data_folder: pathlib.Path) -> Callable[..., Values]:
  """make_values(**changes): all flag values of a small run on `tiny`, with changes."""

  def make(**changes: Any) -> Values:
    unknown = set(changes) - set(flags.defaults())
    assert not unknown, f'no flags: {unknown}'
    return flags.defaults() | {'data_numpy_dir': str(data_folder)} | MINIMAL | changes

  return make


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
  """The texts of the warnings that are logged during the test."""
  found: list[str] = []
  monkeypatch.setattr(logging, 'warning', lambda text, *values: found.append(text % values))
  return found


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
  """The lines that are logged during a test."""
  said: list[str] = []
  for level in ('info', 'warning', 'error'):
    monkeypatch.setattr(logging, level, lambda text, *args: said.append(text % args))
  return said


@pytest.fixture(scope='session')
def run_training() -> Callable[[Values], int]:
  """run_training(values): trains in this process and returns the last step."""

  def run(values: Values) -> int:
    return loop.train(flags.settings_from(values))

  return run


@pytest.fixture(scope='session')
def read_variables() -> Callable[[str], dict[str, np.ndarray]]:
  """read_variables(prefix): all variables of a checkpoint by name."""

  def read(prefix: str) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(prefix)
    return {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}

  return read


@dataclasses.dataclass(frozen=True)
class Events:
  """What TensorBoard shows.

  Attributes:
    scalars: the values of each scalar by step, by tag.
    histograms: the steps of each histogram, by tag.
    pictures: the steps of each picture, by tag.
    pages: the summaries of plugins, such as text, by tag: the newest of each.
  """

  scalars: dict[str, dict[int, float]]
  histograms: dict[str, list[int]]
  pictures: dict[str, list[int]]
  pages: dict[str, Any]


@pytest.fixture(scope='session')
def read_events() -> Callable[[pathlib.Path], Events]:
  """read_events(folder): all summaries in a folder."""

  def read(folder: pathlib.Path) -> Events:
    found = Events({}, {}, {}, {})
    for path in sorted(folder.glob('events.*')):
      for event in tf.train.summary_iterator(str(path)):
        for value in event.summary.value:
          if value.HasField('histo'):
            found.histograms.setdefault(value.tag, []).append(event.step)
          elif value.HasField('image'):
            found.pictures.setdefault(value.tag, []).append(event.step)
          elif value.HasField('tensor'):
            found.pages[value.tag] = value
          else:
            found.scalars.setdefault(value.tag, {})[event.step] = value.simple_value
    return found

  return read


@dataclasses.dataclass(frozen=True)
class TrainedRun:
  """A run that has ended. Copy its folder before you change anything in it.

  Attributes:
    folder: the folder of its checkpoints and summaries.
    values: the value of every flag by its name.
  """

  folder: pathlib.Path
  values: Values


@pytest.fixture(scope='session')
def trained(
  tmp_path_factory: pytest.TempPathFactory,
  make_values: Callable[..., Values],
  run_training: Callable[[Values], int],
) -> TrainedRun:
  """A run of 6 steps with seed 1 and dropout.

  It has checkpoints at 0, 3 and 6, a summary every 2 steps, histograms and pictures at step 4.
  """
  folder = tmp_path_factory.mktemp('trained')
  values = make_values(
    train_log_dir=str(folder), train_steps=6, steps_between_saves=3, seed=1, dropout_rate=0.2
  )
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(hooks, 'STEPS_PER_SUMMARY', 2)
    patch.setattr(hooks, 'STEPS_PER_HISTOGRAM', 4)
    patch.setattr(hooks, 'STEPS_PER_FIGURE', 4)
    assert run_training(values) == 6
  return TrainedRun(folder, values)


# ---- Pickles as Python 2 wrote them, byte by byte.


def _text(value: bytes) -> bytes:
  if len(value) < 256:
    return b'U' + struct.pack('<B', len(value)) + value
  return b'T' + struct.pack('<i', len(value)) + value


def _array(value: np.ndarray) -> bytes:
  code = value.dtype.str[1:].encode()
  dtype = (
    b'cnumpy\ndtype\n'
    + _text(code)
    + b'K\x00K\x01\x87R(K\x03'
    + _text(value.dtype.str[:1].encode())
    + (b'NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb')
  )
  shape = b'(' + b''.join(b'J' + struct.pack('<i', size) for size in value.shape) + b't'
  return (
    b'cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01'
    + shape
    + dtype
    + b'\x89'
    + _text(value.tobytes())
    + b'tb'
  )


def _value(value: Any) -> bytes:
  if isinstance(value, np.ndarray):
    return _array(value)
  if isinstance(value, str):
    return _text(value.encode('latin1'))
  if isinstance(value, int):
    return b'J' + struct.pack('<i', value)
  if isinstance(value, list):
    return b'](' + b''.join(map(_value, value)) + b'e'
  if isinstance(value, range):
    return b'c__builtin__\nxrange\nJ%sJ%s\x86R' % (
      struct.pack('<i', value.start),
      struct.pack('<i', value.stop),
    )
  assert isinstance(value, dict), value
  return b'}(' + b''.join(_value(key) + _value(item) for key, item in value.items()) + b'u'


@pytest.fixture(scope='session')
def python_2_pickle() -> Callable[[Any], bytes]:
  """python_2_pickle(value): a pickle of protocol 2 as Python 2 and its NumPy wrote it.

  Texts are byte strings, as they were then. The memo of pickles is not used.
  """
  return lambda value: b'\x80\x02' + _value(value) + b'.'
