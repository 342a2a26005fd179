"""Episodes and samples have their images in their places, and frames around wrong predictions."""

from __future__ import annotations

import numpy as np
import pytest

from hypertransformer.pictures import canvas, episode

RNG = np.random.default_rng(3)
SIDE = episode.LARGEST_CELL


def count(picture: np.ndarray, colour: canvas.Colour) -> int:
  """Count the pixels of a colour."""
  return int((picture == np.array(colour)).all(axis=-1).sum())


def find(picture: np.ndarray, image: np.ndarray, side: int = SIDE) -> list[list[int]]:
  """Return the row and column of each place where an image is, pixel for pixel."""
  part = canvas.fitted(canvas.pixels(image), side)
  corners = np.argwhere((picture[: 1 - side, : 1 - side] == part[0, 0]).all(axis=-1)).tolist()
  return [[y, x] for y, x in corners if np.array_equal(picture[y:, x:][:side, :side], part)]


def make(ways: int, shots: int, queries: int, channels: int = 1) -> list:
  support, query = np.repeat(np.arange(ways), shots), np.repeat(np.arange(ways), queries)
  # No pixel is white or has the colour of frames.
  images = [RNG.integers(0, 128, (len(each), 8, 8, channels)) for each in (support, query)]
  return [images[0].astype(np.uint8), support, images[1].astype(np.uint8), query]


@pytest.mark.parametrize('sizes', [(2, 1, 1, 1), (5, 5, 3, 3), (64, 1, 1, 1)])
def test_an_episode_is_as_wide_as_any_picture(sizes: tuple[int, ...]) -> None:
  picture = episode.grid(*make(*sizes))
  assert (picture.dtype, picture.shape[1] <= canvas.WIDTH) == (np.uint8, True)


def test_wrong_queries_are_framed_and_no_others() -> None:
  support, labels, query, asked = make(5, 1, 2)
  frames = []
  for wrong in range(3):
    said = asked.copy()
    said[:wrong] = 4
    frames.append(count(episode.grid(support, labels, query, asked, said), canvas.FRAME))
  frame = (SIDE + 2) ** 2 - (SIDE - 2) ** 2
  assert frames[0] == 0
  assert frame <= frames[1] < 2 * frame <= frames[2]


def test_support_is_above_query_in_the_column_of_the_class() -> None:
  support, labels, query, asked = make(3, 1, 1)
  order = np.array([2, 0, 1])
  picture = episode.grid(support[order], labels[order], query[order], asked[order])
  first, below, second = (find(picture, each)[0] for each in (support[1], query[1], support[2]))
  assert (first[1], first[0] + SIDE < below[0]) == (below[1], True)
  assert (second[0], second[1] > first[1]) == (first[0], True)


def test_unlabelled_support_images_are_drawn_separately() -> None:
  support, labels, query, asked = make(3, 5, 1)
  hidden = support[4]  # the fifth one of its class
  assert find(episode.grid(support, labels, query, asked), hidden) == []
  labels[4] = 3
  assert len(find(episode.grid(support, labels, query, asked), hidden)) == 1


def test_the_overview_has_support_kernels_and_queries_from_left_to_right() -> None:
  support, _, query, _ = make(4, 1, 1)
  kernels = {'layer_1': RNG.normal(size=(3, 3, 1, 16)), 'layer_2': RNG.normal(size=(16, 4))}
  pictures = [
    episode.overview(support, query, said, list('ABCD'), kernels) for said in ('ABCD', 'ABDD')
  ]
  assert find(pictures[0], support[0], 84)[0][1] < 100
  assert find(pictures[0], query[0], 84)[0][1] > pictures[0].shape[1] // 2
  assert count(pictures[0], canvas.FRAME) < count(pictures[1], canvas.FRAME)


def test_a_contact_sheet_has_a_row_for_each_class_with_the_images_side_by_side() -> None:
  small, large = (RNG.integers(0, 255, (2, n, n, 1)).astype(np.uint8) for n in (28, 300))
  picture = episode.contact_sheet([('0 first', small), ('1 ' + 'second' * 9, large)])
  places = [find(picture, image)[0] for image in small]
  assert places[0][0] == places[1][0]
  assert places[0][1] + SIDE < places[1][1]
  assert len(find(picture, large[0], episode.LARGEST_SHEET_CELL)) == 1
