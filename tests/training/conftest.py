"""What the tests of training share: setups, graphs, and a copy of a finished run."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.settings import flags
from hypertransformer.training import graph as graph_lib
from hypertransformer.training.graph import TrainGraph
from hypertransformer.training.setup import Setup, setup_from


@dataclasses.dataclass
class Built:
  """A training graph and its tensors."""

  ops: TrainGraph
  graph: tf.Graph


@pytest.fixture(scope='session')
def setup_of(make_values: Callable[..., Any]) -> Callable[..., Setup]:
  """setup_of(**changes) makes the setup of a minimal run on `tiny`, with changes of its flags."""
  return lambda **changes: setup_from(flags.settings_from(make_values(**changes)))


@pytest.fixture(scope='session')
def build() -> Callable[[Setup], Built]:
  """build(setup) builds the training graph of a setup, with seed 1."""

  def build_graph(setup: Setup) -> Built:
    with tf.Graph().as_default() as graph:
      tf.set_random_seed(1)
      return Built(graph_lib.build(setup, seed=1), graph)

  return build_graph


@pytest.fixture
def copied(trained: Any, tmp_path: pathlib.Path) -> dict[str, Any]:
  """The flag values of a copy of the finished run, which a test may change."""
  folder = tmp_path / 'copy'
  shutil.copytree(trained.folder, folder)
  return trained.values | {'train_log_dir': str(folder)}


@pytest.fixture
def no_building(monkeypatch: pytest.MonkeyPatch) -> None:
  """Makes a test fail if a graph is built."""
  monkeypatch.setattr(graph_lib, 'build', lambda *args: pytest.fail('a graph is built'))
