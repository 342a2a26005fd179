"""The grid of an episode has its images in their places, and frames around wrong ones."""

from __future__ import annotations

import numpy as np
import pytest

from hypertransformer.pictures import canvas
from hypertransformer.pictures import episode as episode_grid

RNG = np.random.default_rng(3)


def count(picture: np.ndarray, colour: canvas.Colour) -> int:
  """How many pixels have this colour."""
  return int((picture == np.array(colour)).all(axis=-1).sum())


def has(picture: np.ndarray, part: np.ndarray) -> bool:
  """Whether a picture has the part somewhere in it, pixel for pixel."""
  windows = np.lib.stride_tricks.sliding_window_view(picture, part.shape)
  return bool((windows == part).all(axis=(-3, -2, -1)).any())


def is_picture(picture: np.ndarray) -> bool:
  """Whether it is a picture as all are: of bytes, three channels, and not too wide."""
  return picture.dtype == np.uint8 and picture.shape[-1] == 3 and picture.shape[1] <= canvas.WIDTH


def episode(ways: int, shots: int, queries: int, channels: int = 1, side: int = 8) -> list:
  support, query = np.repeat(np.arange(ways), shots), np.repeat(np.arange(ways), queries)
  shape = (side, side, channels)
  # No pixel is white or has the colour of frames.
  images = [RNG.integers(0, 128, (len(labels), *shape)) for labels in (support, query)]
  return [images[0].astype(np.uint8), support, images[1].astype(np.uint8), query]


@pytest.mark.parametrize(
  ('ways', 'shots', 'queries', 'channels'),
  [(2, 1, 1, 1), (5, 5, 3, 3), (20, 1, 2, 1), (64, 1, 1, 1)],
)
def test_an_episode_is_as_wide_as_any_picture(
  ways: int, shots: int, queries: int, channels: int
) -> None:
  assert is_picture(episode_grid.grid(*episode(ways, shots, queries, channels)))


def test_wrong_queries_are_framed_and_no_others() -> None:
  support, labels, query, asked = episode(5, 1, 2)
  said = asked.copy()
  right = episode_grid.grid(support, labels, query, asked, said)
  assert count(right, canvas.FRAME) == 0
  said[3] = 4
  one = episode_grid.grid(support, labels, query, asked, said)
  said[7] = 0
  two = episode_grid.grid(support, labels, query, asked, said)
  side = episode_grid._side(5)
  frame = (side + 2) ** 2 - (side + 2 - 2 * episode_grid.FRAME) ** 2
  assert frame <= count(one, canvas.FRAME) < 2 * frame <= count(two, canvas.FRAME)


def test_support_is_above_query_in_the_column_of_the_class() -> None:
  support, labels, query, asked = episode(3, 1, 1)
  order = np.array([2, 0, 1])
  picture = episode_grid.grid(support[order], labels[order], query[order], asked[order])
  side = episode_grid._side(3)
  places = []
  for image in (support[1], query[1], support[2]):
    part = canvas.fitted(canvas.pixels(image), side)
    windows = np.lib.stride_tricks.sliding_window_view(picture, part.shape)[:, :, 0]
    places.append(np.argwhere((windows == part).all(axis=(-3, -2, -1)))[0])
  assert places[0][1] == places[1][1]
  assert places[0][0] + side < places[1][0]
  assert places[2][0] == places[0][0]
  assert places[2][1] > places[0][1]


def test_unlabelled_support_images_are_drawn_apart() -> None:
  support, labels, query, asked = episode(3, 2, 1)
  with_label = episode_grid.grid(support, labels, query, asked)
  labels[[1, 3, 5]] = 3
  without = episode_grid.grid(support, labels, query, asked)
  assert without.shape != with_label.shape
  hidden = canvas.fitted(canvas.pixels(support[3]), episode_grid._side(episode_grid.IN_A_BAND))
  assert has(without, hidden)
  assert not has(with_label, hidden)
