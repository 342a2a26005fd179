"""What the tests of training share: settings, graphs, and a copy of a finished run."""

from __future__ import annotations

import dataclasses
import shutil

import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.settings import flags
from hypertransformer.training import graph as graph_lib
from hypertransformer.training.graph import TrainGraph


@dataclasses.dataclass
class Built:
  """A training graph and its tensors."""

  ops: TrainGraph
  graph: tf.Graph

  def start(self, session):
    """Gives variables and streams their first values."""
    session.run(tf.global_variables_initializer())
    for stream in (self.ops.train_stream, self.ops.test_stream):
      if stream is not None:
        session.run(stream.initializer, {stream.first: 0})


@pytest.fixture(scope='session')
def settings_of(make_values):
  """settings_of(**changes): the settings of a minimal run on `tiny`, with changes of its flags."""
  return lambda **changes: flags.settings_from(make_values(**changes))


@pytest.fixture(scope='session')
def build():
  """build(settings, devices) builds the training graph, with seed 1."""

  def build_graph(settings, devices=()):
    with tf.Graph().as_default() as graph:
      tf.set_random_seed(1)
      inputs = graph_lib.open_inputs(settings, seed=1)
      return Built(graph_lib.build(settings, inputs, devices=devices), graph)

  return build_graph


@pytest.fixture
def copied(trained, tmp_path):
  """The flag values of a copy of the finished run, which a test may change."""
  folder = tmp_path / 'copy'
  shutil.copytree(trained.folder, folder)
  return trained.values | {'train_log_dir': str(folder)}


@pytest.fixture
def no_building(monkeypatch):
  """Makes a test fail if a graph is built."""
  monkeypatch.setattr(graph_lib, 'build', lambda *args, **more: pytest.fail('a graph is built'))
