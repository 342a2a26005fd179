"""Draw the dataset `strokes`, an invented script of characters that look handwritten.

It needs no download (docs/spec/data.md, section 5). A
character is a program of one to four strokes, which are splines through control points. Each of
its drawings repeats the program with small errors, as a hand does: every control point and
stroke is a little off, and the whole has another size, slant, place and pen. A nearest-neighbour
classifier on the pixels is about as good on it as on Omniglot.

In this module, x and y run from 0 to 1 over the image, and y points down. A character is planned
around the origin, with its longer side 1. Random numbers come from np.random.RandomState, because
its numbers are the same in all versions of NumPy.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import pathlib

import numpy as np
from PIL import Image, ImageDraw

from hypertransformer.data import files
from hypertransformer.errors import InputError
from hypertransformer.progress import progress

_OVERSAMPLING = 4  # drawings are made this many times larger and then reduced, for smooth edges
_STEPS_PER_PIECE = 12  # points drawn between two control points of a stroke
# How much the drawings of a character differ: standard deviations of normal distributions.
_POINT_NOISE = 0.05  # of the position of a control point, in fractions of the character
_STROKE_NOISE = 0.035  # of the position of a stroke, in fractions of the character
_PLACE_NOISE = 0.05  # of the position in the image, in fractions of the image
_PEN_NOISE = 0.12  # of the logarithm of the width of the pen
_TURN_NOISE = 0.07  # of the rotation, in radians
_SLANT_NOISE = 0.1  # of the shear: x for each unit of y
_ASPECT_NOISE = 0.1  # of the logarithm of width / height
_SIZE_NOISE = 0.17  # of the logarithm of the size
_COUNT_SHARES = (0.22, 0.36, 0.28, 0.14)  # the probabilities of 1, 2, 3 and 4 strokes


@dataclasses.dataclass(frozen=True)
class Stroke:
  """One movement of the pen.

  Attributes:
    points: its control points, [points, 2], x and y of each.
    rounded: whether it is a smooth curve through them; otherwise it has corners at them.
  """

  points: np.ndarray
  rounded: bool


@dataclasses.dataclass(frozen=True)
class Character:
  """A class of the dataset, before any error of the hand.

  Attributes:
    strokes: its strokes, around the origin, the longer side of all of them together being 1.
    size: its usual longer side, as a fraction of the image.
    pen: the usual width of its lines, as a fraction of the image.
  """

  strokes: tuple[Stroke, ...]
  size: float
  pen: float


def write(
  path: pathlib.Path,
  classes: int = 1623,
  samples: int = 20,
  image_size: int = 28,
  seed: int = 0,
  overwrite: bool = True,
) -> None:
  """Draw the dataset and write it to a .npy file; see `make` and `files.atomic_file`.

  Raises:
    InputError: an argument is out of range, or the file cannot be written.
  """
  images = make(classes, samples, image_size, seed)
  with files.atomic_file(path, overwrite) as file:
    np.save(file, images)


def make(classes: int, samples: int, image_size: int, seed: int) -> np.ndarray:
  """Draw the whole dataset; the same arguments give the same bytes.

  Character i does not depend on `classes`, so a smaller dataset is the start of a larger one.

  Args:
    classes: the number of characters.
    samples: the number of drawings of each character.
    image_size: the width and height of a drawing in pixels.
    seed: the seed of the random numbers, from 0 to 2^32 - 1.

  Returns:
    uint8 [classes, samples, image_size, image_size, 1], bright ink (255) on a dark ground (0).

  Raises:
    InputError: an argument is out of range.
  """
  if min(classes, samples) < 1 or image_size < 8 or not 0 <= seed < 2**32:
    raise InputError(
      f'classes is {classes}, samples {samples}, image_size {image_size} and seed {seed}; expected '
      'at least 1, 1 and 8, and 0 to 2^32 - 1'
    )
  images: np.ndarray = np.zeros((classes, samples, image_size, image_size, 1), np.uint8)
  with progress('strokes', classes, 'characters') as bar:
    for number in range(classes):
      random = np.random.RandomState([seed, number])
      images[number, ..., 0] = draw(plan(random), samples, image_size, random)
      bar.update()
  return images


def plan(random: np.random.RandomState) -> Character:
  """Invent a character: how many strokes, of which kind, and where they touch."""
  count = 1 + random.choice(len(_COUNT_SHARES), p=_COUNT_SHARES)
  strokes: list[Stroke] = []
  # Characters of a single line or ring could not be told apart, so such ones are rare.
  shares = _KIND_SHARES if count > 1 else _LONE_SHARES
  for _ in range(count):
    stroke = _KINDS[random.choice(len(_KINDS), p=shares)](random)
    strokes.append(_attach(stroke, strokes, random))
  return Character(
    _centred(strokes), size=random.uniform(0.42, 0.68), pen=random.uniform(0.042, 0.048)
  )


def _attach(stroke: Stroke, earlier: list[Stroke], random: np.random.RandomState) -> Stroke:
  """Move a stroke to a place where it mostly touches or crosses an earlier one."""
  if not earlier:
    return stroke
  target = earlier[random.randint(len(earlier))].points
  piece = random.randint(len(target) - 1)
  there = target[piece] + random.choice((0.0, 0.5, 1.0)) * (target[piece + 1] - target[piece])
  if random.uniform() < 0.25:  # near the earlier stroke, without touching it
    there = there + random.choice((-0.3, 0.3), 2)
  own = stroke.points[random.randint(len(stroke.points))]
  return Stroke(stroke.points - own + there, stroke.rounded)


def _centred(strokes: list[Stroke]) -> tuple[Stroke, ...]:
  """Move and scale strokes such that they are around the origin and their longer side is 1."""
  points = np.concatenate([stroke.points for stroke in strokes])
  low, high = points.min(0), points.max(0)
  scale = 1 / max(float((high - low).max()), 1e-3)
  return tuple(
    Stroke((stroke.points - (low + high) / 2) * scale, stroke.rounded) for stroke in strokes
  )


def _line(random: np.random.RandomState) -> Stroke:
  """Make a nearly straight line, which is upright, level or aslant."""
  angle = random.choice((0.0, 0.5, 0.25, -0.25), p=(0.35, 0.35, 0.15, 0.15)) * math.pi
  along = random.uniform(0.4, 1.0) * np.array([math.cos(angle), math.sin(angle)])
  bow = random.normal(0, 0.04) * np.array([-along[1], along[0]])
  return Stroke(np.stack([-along / 2, bow, along / 2]), True)


def _arc(random: np.random.RandomState) -> Stroke:
  """Make a part of an ellipse, such as a cup, a crescent or almost a ring."""
  return _ellipse(random, random.uniform(0.7, 1.5) * math.pi)


def _ring(random: np.random.RandomState) -> Stroke:
  """Make a closed ellipse."""
  return _ellipse(random, 2 * math.pi)


def _ellipse(random: np.random.RandomState, extent: float) -> Stroke:
  """Make a part of an ellipse that goes through the angle `extent`, in radians."""
  start = random.randint(8) * math.pi / 4 + random.normal(0, 0.15)
  angles = start + random.choice((-1, 1)) * np.linspace(0, extent, 3 + round(1.3 * extent))
  radii = random.uniform(0.18, 0.42, 2)
  return Stroke(np.stack([np.cos(angles), np.sin(angles)], 1) * radii, True)


def _corners(random: np.random.RandomState) -> Stroke:
  """Make a line of two to four straight pieces with corners, at right angles or as a zigzag."""
  turn = random.choice((0.5, 0.7)) * math.pi
  pieces = random.randint(2, 5)
  sides = random.choice((-1, 1), pieces)
  return _walk(random, random.randint(4) * math.pi / 2, turn * sides, 0.3, 0.8, rounded=False)


def _curl(random: np.random.RandomState) -> Stroke:
  """Make a free round line, such as a wave, a hook or a spiral."""
  pieces = random.randint(3, 7)
  bend = random.choice((-1, 1)) * random.uniform(0.2, 0.45) * math.pi
  flips = np.cumprod(random.choice((-1, 1), pieces, p=(0.3, 0.7)))
  return _walk(random, random.randint(8) * math.pi / 4, bend * flips, 0.2, 0.45, rounded=True)


def _walk(
  random: np.random.RandomState,
  heading: float,
  turns: np.ndarray,
  shortest: float,
  longest: float,
  rounded: bool,
) -> Stroke:
  """Make a line of several pieces in a row.

  Args:
    random: the random numbers.
    heading: the direction of the first piece, in radians.
    turns: [pieces], the change of direction before each piece, in radians; that before the first
      has no effect.
    shortest: the smallest length of a piece.
    longest: the largest length of a piece.
    rounded: as in Stroke.
  """
  headings = heading + np.cumsum(turns) - turns[0]
  lengths = random.uniform(shortest, longest, len(turns))
  steps = np.stack([np.cos(headings), np.sin(headings)], 1) * lengths[:, np.newaxis]
  return Stroke(np.concatenate([np.zeros((1, 2)), np.cumsum(steps, 0)]), rounded)


# The kinds of strokes, and their probabilities in a character of several strokes and of one.
_KINDS = (_line, _arc, _ring, _corners, _curl)
_KIND_SHARES = (0.34, 0.2, 0.08, 0.18, 0.2)
_LONE_SHARES = (0.0, 0.1, 0.02, 0.34, 0.54)


def draw(
  character: Character, samples: int, image_size: int, random: np.random.RandomState
) -> np.ndarray:
  """Draw a character several times, each time a little differently.

  Args:
    character: the character.
    samples: the number of drawings.
    image_size: their width and height in pixels.
    random: the random numbers.

  Returns:
    uint8 [samples, image_size, image_size], with bright ink.
  """
  frames = _frames(samples, character.size, random)
  centre = 0.5 + random.normal(0, _PLACE_NOISE, (samples, 1, 2))
  pens = character.pen * np.exp(random.normal(0, _PEN_NOISE, samples))
  paths = [_redrawn(stroke, samples, random) @ frames for stroke in character.strokes]
  places = _on_paper(np.concatenate(paths, 1), centre)
  return np.stack(
    [
      _render([path[sample] + places[sample] for path in paths], pens[sample], image_size)
      for sample in range(samples)
    ]
  )


def _on_paper(points: np.ndarray, centre: np.ndarray) -> np.ndarray:
  """Move the places of drawings as little as is needed to keep all of their points in the image.

  Args:
    points: [samples, n, 2], the points of each drawing around the origin.
    centre: [samples, 1, 2], where the origin should come to lie in the image.

  Returns:
    The corrected `centre`.
  """
  margin = 0.04
  lowest = margin - points.min(1, keepdims=True)
  highest = 1 - margin - points.max(1, keepdims=True)
  return np.clip(centre, np.minimum(lowest, highest), np.maximum(lowest, highest))


def _frames(samples: int, size: float, random: np.random.RandomState) -> np.ndarray:
  """Sample how each drawing is sized, turned and slanted.

  Returns:
    A matrix for each drawing, [samples, 2, 2]; it acts on points [n, 2] as `points @ matrix`.
  """
  turn, slant, aspect, scale = random.normal(0, 1, (4, samples)) * np.array(
    [[_TURN_NOISE], [_SLANT_NOISE], [_ASPECT_NOISE], [_SIZE_NOISE]]
  )
  scale = np.minimum(size * np.exp(scale), 0.82)
  wide, high = scale * np.exp(aspect / 2), scale * np.exp(-aspect / 2)
  cos, sin = np.cos(turn), np.sin(turn)
  return np.stack(
    [
      np.stack([wide * cos, wide * sin], 1),
      np.stack([high * (-slant * cos - sin), high * (cos - slant * sin)], 1),
    ],
    1,
  )


def _redrawn(stroke: Stroke, samples: int, random: np.random.RandomState) -> np.ndarray:
  """Return the path of a stroke in each drawing, with its noise, [samples, path points, 2]."""
  shape = (samples, *stroke.points.shape)
  # Control points that are close together get less noise, since a hand moves smoothly along a line.
  spacing = np.linalg.norm(np.diff(stroke.points, axis=0), axis=1).mean()
  points = stroke.points + random.normal(0, _POINT_NOISE * min(1.0, spacing / 0.35), shape)
  points += random.normal(0, _STROKE_NOISE, (samples, 1, 2))
  return _spline(len(stroke.points), stroke.rounded) @ points


@functools.cache
def _spline(points: int, rounded: bool) -> np.ndarray:
  """Return the weights by which control points make a path, [path points, points].

  The path is a Catmull-Rom spline, or consists of straight lines. A piece of the spline between two
  control points is a cubic. Its slope at a control point is half the step between the two
  neighbours of that point; at an end, it is the step to the only neighbour.

  Args:
    points: the number of control points.
    rounded: whether the path is a spline.
  """
  weights: np.ndarray = np.zeros(((points - 1) * _STEPS_PER_PIECE + 1, points))
  identity = np.eye(points)
  slopes = np.gradient(identity, axis=0) if rounded else np.zeros((points, points))
  for row, u in enumerate(np.linspace(0, points - 1, len(weights))):
    piece = min(int(u), points - 2)
    t = u - piece
    late = t * t * (3 - 2 * t)
    weights[row] = (
      (1 - late) * identity[piece]
      + late * identity[piece + 1]
      + t * (1 - t) * ((1 - t) * slopes[piece] - t * slopes[piece + 1])
    )
  return weights


def _render(paths: list[np.ndarray], pen: float, image_size: int) -> np.ndarray:
  """Draw paths with a round pen.

  Args:
    paths: [path points, 2] each, in fractions of the image.
    pen: the width of the line, in fractions of the image.
    image_size: the width and height of the drawing in pixels.

  Returns:
    uint8 [image_size, image_size].
  """
  side = image_size * _OVERSAMPLING
  width = max(1, round(pen * side))
  paper = Image.new('L', (side, side))
  ink = ImageDraw.Draw(paper)
  for path in paths:
    dots = [(x * side, y * side) for x, y in path.tolist()]
    ink.line(dots, fill=255, width=width, joint='curve')
    for x, y in (dots[0], dots[-1]):  # round ends
      ink.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=255)
  return np.asarray(paper.resize((image_size, image_size), Image.Resampling.LANCZOS))
