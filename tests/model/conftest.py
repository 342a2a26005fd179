"""What the tests of the model share: a session on the test's own graph, and fixtures.

The modules beside this one hold the rest: the model in NumPy (numpy_layers.py, numpy_model.py) and
small models and sequences of tasks (small_models.py, small_sequences.py).
"""

from __future__ import annotations

import functools
import pathlib
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

# The modules beside this one that hold what tests share: numpy_layers and so on.
sys.path.insert(0, str(pathlib.Path(__file__).parent))

from numpy_layers import Arrays, ByHand
from numpy_model import HandModel
from small_models import Built, built

from hypertransformer.checkpoint_conversion import names
from hypertransformer.model import continual


def quick_session() -> tf.Session:
  """Opens a session that does not spend seconds on optimising a graph which runs once."""
  config = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
  config.graph_options.rewrite_options.disable_meta_optimizer = True
  return tf.Session(config=config)


class Lab:
  """A session on the test's own graph, which can also set its variables."""

  def __init__(self, session: tf.Session) -> None:
    self.session = session

  def run(self, fetches: Any, feed: Mapping[tf.Tensor, np.ndarray] | None = None) -> Any:
    return self.session.run(fetches, feed)

  def fill(self, **by_suffix: float) -> dict[str, np.ndarray]:
    """Gives every variable random values that depend on its name only.

    Each vector of a transformer block has its own name here, and not those of the variable that
    holds them all.

    Args:
      **by_suffix: Values for variables whose names end so: gamma=0.0 makes those that end with
        "gamma" 0 instead.

    Returns:
      The values by name.
    """
    shapes = names.separate_vectors(
      {v.op.name: np.zeros(v.shape.as_list()) for v in tf.global_variables()}
    )
    values = {name: _values(name, like.shape, by_suffix) for name, like in shapes.items()}
    self.load(values)
    return values

  def load(self, values: Arrays) -> None:
    """Sets variables, by names like those of `fill`, as initial values; this needs no new ops."""
    values = names.join_vectors(values)
    variables = [v for v in tf.global_variables() if v.op.name in values]
    assert len(variables) == len(values)
    self.run(
      [v.initializer for v in variables],
      {v.initializer.inputs[1]: values[v.op.name] for v in variables},
    )


def _values(name: str, shape: tuple[int, ...], by_suffix: Mapping[str, float]) -> np.ndarray:
  for suffix, value in by_suffix.items():
    if name.endswith(suffix):
      return np.full(shape, value, np.float32)
  values = np.random.default_rng(zlib.crc32(name.encode())).normal(0, 0.5, shape)
  return (values + name.endswith('gamma')).astype(np.float32)


@pytest.fixture(autouse=True)
def graph() -> Iterator[tf.Graph]:
  """Gives every test a graph of its own."""
  with tf.Graph().as_default() as own:
    tf.set_random_seed(3)
    yield own


@pytest.fixture
def lab(graph: tf.Graph) -> Iterator[Lab]:
  with quick_session() as session:
    yield Lab(session)


@pytest.fixture
def rng() -> np.random.Generator:
  return np.random.default_rng(7)


@pytest.fixture(scope='session')
def by_hand() -> type[ByHand]:
  return ByHand


@pytest.fixture(scope='session')
def hand_model() -> type[HandModel]:
  return HandModel


@pytest.fixture
def build(rng: np.random.Generator) -> Callable[..., Built]:
  """build(settings, side, mask): a small model with random images, see small_models.built."""
  return functools.partial(built, rng)


@pytest.fixture(params=[0, 9], ids=['loop', 'unrolled'])
def unrolled_up_to(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
  """Both ways of going through the tasks of a sequence: a loop in the graph, or unrolled."""
  monkeypatch.setattr(continual, 'UNROLLED_SCAN', request.param)
  monkeypatch.setattr(continual, 'UNROLLED_MAP', request.param)
  return request.param
