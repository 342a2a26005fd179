"""The built-in dataset is deterministic, looks like ink, and is as hard as Omniglot."""

from __future__ import annotations

import numpy as np
import pytest

from hypertransformer.converters import strokes
from hypertransformer.errors import InputError


@pytest.fixture(scope='module')
def images() -> np.ndarray:
  return strokes.make(classes=120, samples=6, image_size=28, seed=0)


def test_drawings_are_bright_ink_on_a_dark_ground(images: np.ndarray) -> None:
  assert images.shape == (120, 6, 28, 28, 1)
  assert images.dtype == np.uint8
  per_image = images.reshape(720, -1)
  assert (per_image.max(1) == 255).mean() > 0.9  # bright ink
  assert (np.median(per_image, 1) == 0).all()  # on a dark ground
  assert ((per_image > 0) & (per_image < 255)).any(1).all()  # with smooth edges
  assert 8 < images.mean() < 35  # Omniglot: 21


def test_the_same_seed_gives_the_same_bytes(images: np.ndarray) -> None:
  again = strokes.make(classes=5, samples=6, image_size=28, seed=0)
  np.testing.assert_array_equal(again, images[:5])  # a smaller set is the start of a larger one
  other = strokes.make(classes=5, samples=6, image_size=28, seed=1)
  assert (other != again).any(axis=(1, 2, 3, 4)).all()


def test_it_is_about_as_hard_as_omniglot(images: np.ndarray) -> None:
  """A nearest-neighbour classifier on pixels gets 20 to 40 % in 20-way 1-shot tasks.

  On Omniglot it gets 24.6 %.
  """
  rng = np.random.default_rng(5)
  right = []
  for _ in range(100):
    classes = rng.choice(120, 20, replace=False)
    pairs = np.stack([rng.choice(6, 2, replace=False) for _ in classes])
    support = images[classes, pairs[:, 0]].reshape(20, -1).astype(float)
    query = images[classes, pairs[:, 1]].reshape(20, -1).astype(float)
    distances = ((query[:, None] - support[None]) ** 2).sum(-1)
    right.append((distances.argmin(1) == np.arange(20)).mean())
  assert 0.2 < np.mean(right) < 0.4


@pytest.mark.parametrize(
  'change', [{'classes': 0}, {'samples': 0}, {'image_size': 7}, {'seed': -1}, {'seed': 2**32}]
)
def test_arguments_out_of_range_are_errors(change: dict[str, int]) -> None:
  ((name, value),) = change.items()
  with pytest.raises(InputError, match=f'{name} (is )?{value}'):
    strokes.make(**({'classes': 1, 'samples': 1, 'image_size': 28, 'seed': 0} | change))
