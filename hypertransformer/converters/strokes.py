"""`strokes`: a made-up script of handwritten-like characters (spec: data.md section 5).

So that everything runs on a fresh machine without a download. A character is a programme of one to
four strokes, splines through control points; each of its drawings repeats the programme with motor
noise: every control point and stroke a little off, the whole at another size, slant and place, with
another pen. A nearest-neighbour classifier on the pixels is about as good as on Omniglot.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
from PIL import Image, ImageDraw

from hypertransformer.errors import InputError
from hypertransformer.progress import Progress

# Coordinates: the image is 0..1 both ways, y downwards; a character is planned around the origin
# with its longer side 1. RandomState, because its numbers never change between NumPy versions.
_PAPER = 4  # drawn this many times larger, then reduced: smooth edges
_STEPS = 12  # points drawn per piece of a spline
_STROKES = (0.22, 0.36, 0.28, 0.14)  # how often a character has 1, 2, 3, 4 strokes


@dataclasses.dataclass(frozen=True)
class Noise:
  """Motor noise: standard deviations, as fractions of the character unless said otherwise."""

  point: float = 0.05  # of each control point, less where they are close together
  stroke: float = 0.035  # of each stroke's place
  size: float = 0.17  # of the logarithm of the size
  aspect: float = 0.1  # of the logarithm of width / height
  turn: float = 0.07  # of the rotation, radians
  slant: float = 0.1  # of the shear
  place: float = 0.05  # of the position on the paper, fraction of the image


@dataclasses.dataclass(frozen=True)
class Stroke:
  """One movement of the pen: control points [points, 2] (x, y), rounded or with corners."""

  points: np.ndarray
  rounded: bool


@dataclasses.dataclass(frozen=True)
class Character:
  """A class: its strokes (around the origin, longer side 1) and its usual size and pen.

  Attributes:
    strokes: in the order in which they are drawn.
    size: longer side, as a fraction of the image.
    pen: width of the line, as a fraction of the image.
  """

  strokes: tuple[Stroke, ...]
  size: float
  pen: float


def make(classes: int, samples: int, image_size: int, seed: int) -> np.ndarray:
  """Draws the dataset; the same arguments give the same bytes.

  Character i is the same whatever `classes` is, so a smaller dataset is the start of a larger one.

  Args:
    classes: number of characters.
    samples: drawings of each.
    image_size: width and height in pixels.
    seed: 0 or more, below 2 ** 32.

  Returns:
    uint8 [classes, samples, image_size, image_size, 1], bright ink (255) on a dark ground (0).

  Raises:
    InputError: an argument out of range.
  """
  for name, value, least in (
    ('classes', classes, 1),
    ('samples', samples, 1),
    ('image_size', image_size, 8),
  ):
    if value < least:
      raise InputError(f'{name} is {value}; expected at least {least}')
  if not 0 <= seed < 2**32:
    raise InputError(f'seed is {seed}; expected 0 to {2**32 - 1}')
  images: np.ndarray = np.zeros((classes, samples, image_size, image_size, 1), np.uint8)
  progress = Progress('strokes', classes, 'characters')
  for number in range(classes):
    random = np.random.RandomState([seed, number])
    images[number, ..., 0] = draw(plan(random), samples, image_size, random)
    progress.update(number + 1)
  return images


def plan(random: np.random.RandomState) -> Character:
  """Invents a character."""
  count = 1 + random.choice(len(_STROKES), p=_STROKES)
  strokes: list[Stroke] = []
  # Alone, lines and rings would make many classes that nobody can tell apart.
  shares = _KIND_SHARES if count > 1 else _LONE_SHARES
  for _ in range(count):
    stroke = _KINDS[random.choice(len(_KINDS), p=shares)](random)
    strokes.append(_attach(stroke, strokes, random))
  return Character(
    _centred(strokes), size=random.uniform(0.42, 0.68), pen=random.uniform(0.042, 0.048)
  )


def _attach(stroke: Stroke, earlier: list[Stroke], random: np.random.RandomState) -> Stroke:
  """Moves a stroke to where a writer would put it: mostly touching or crossing an earlier one."""
  if not earlier:
    return stroke
  target = earlier[random.randint(len(earlier))].points
  piece = random.randint(len(target) - 1)
  there = target[piece] + random.choice((0.0, 0.5, 1.0)) * (target[piece + 1] - target[piece])
  if random.uniform() < 0.25:  # near it, not touching
    there = there + random.choice((-0.3, 0.3), 2)
  own = stroke.points[random.randint(len(stroke.points))]
  return Stroke(stroke.points - own + there, stroke.rounded)


def _centred(strokes: list[Stroke]) -> tuple[Stroke, ...]:
  """The strokes around the origin, the longer side of their box 1."""
  points = np.concatenate([stroke.points for stroke in strokes])
  low, high = points.min(0), points.max(0)
  scale = 1 / max(float((high - low).max()), 1e-3)
  return tuple(
    Stroke((stroke.points - (low + high) / 2) * scale, stroke.rounded) for stroke in strokes
  )


def _line(random: np.random.RandomState) -> Stroke:
  """A nearly straight line: upright, level or aslant."""
  angle = random.choice((0.0, 0.5, 0.25, -0.25), p=(0.35, 0.35, 0.15, 0.15)) * math.pi
  along = random.uniform(0.4, 1.0) * np.array([math.cos(angle), math.sin(angle)])
  bow = random.normal(0, 0.04) * np.array([-along[1], along[0]])
  return Stroke(np.stack([-along / 2, bow, along / 2]), True)


def _arc(random: np.random.RandomState) -> Stroke:
  """A bow of an ellipse: a cup, a crescent or nearly a ring."""
  return _ellipse(random, random.uniform(0.7, 1.5) * math.pi)


def _ring(random: np.random.RandomState) -> Stroke:
  """A closed ellipse."""
  return _ellipse(random, 2 * math.pi)


def _ellipse(random: np.random.RandomState, extent: float) -> Stroke:
  start = random.randint(8) * math.pi / 4 + random.normal(0, 0.15)
  angles = start + random.choice((-1, 1)) * np.linspace(0, extent, 3 + round(1.3 * extent))
  radii = random.uniform(0.18, 0.42, 2)
  return Stroke(np.stack([np.cos(angles), np.sin(angles)], 1) * radii, True)


def _corners(random: np.random.RandomState) -> Stroke:
  """Two to four straight pieces: level and upright ones, or a zigzag."""
  turn = random.choice((0.5, 0.7)) * math.pi
  pieces = random.randint(2, 5)
  sides = random.choice((-1, 1), pieces)
  return _walk(random, random.randint(4) * math.pi / 2, turn * sides, 0.3, 0.8, rounded=False)


def _curl(random: np.random.RandomState) -> Stroke:
  """A free round line: a wave, a hook or a spiral."""
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
  """A chain of pieces; `turns` [pieces] are the changes of heading after each, radians."""
  headings = heading + np.cumsum(turns) - turns[0]
  lengths = random.uniform(shortest, longest, len(turns))
  steps = np.stack([np.cos(headings), np.sin(headings)], 1) * lengths[:, np.newaxis]
  return Stroke(np.concatenate([np.zeros((1, 2)), np.cumsum(steps, 0)]), rounded)


_KINDS = (_line, _arc, _ring, _corners, _curl)
_KIND_SHARES = (0.34, 0.2, 0.08, 0.18, 0.2)
_LONE_SHARES = (0.0, 0.1, 0.02, 0.34, 0.54)


def draw(
  character: Character,
  samples: int,
  image_size: int,
  random: np.random.RandomState,
  noise: Noise | None = None,
) -> np.ndarray:
  """Draws a character several times, each time a little differently.

  Returns:
    uint8 [samples, image_size, image_size], bright ink.
  """
  noise = noise or Noise()
  frames = _frames(samples, character.size, random, noise)
  centre = 0.5 + random.normal(0, noise.place, (samples, 1, 2))
  pens = character.pen * np.exp(random.normal(0, 0.12, samples))
  paths = [_redrawn(stroke, samples, random, noise) @ frames for stroke in character.strokes]
  places = _on_paper(np.concatenate(paths, 1), centre)
  return np.stack(
    [
      _render([path[sample] + places[sample] for path in paths], pens[sample], image_size)
      for sample in range(samples)
    ]
  )


def _on_paper(points: np.ndarray, centre: np.ndarray) -> np.ndarray:
  """Moves `centre` [samples, 1, 2] as little as keeps `points` [samples, n, 2] on the paper."""
  margin = 0.04
  lowest = margin - points.min(1, keepdims=True)
  highest = 1 - margin - points.max(1, keepdims=True)
  return np.clip(centre, np.minimum(lowest, highest), np.maximum(lowest, highest))


def _frames(samples: int, size: float, random: np.random.RandomState, noise: Noise) -> np.ndarray:
  """The linear part of each drawing's distortion, [samples, 2, 2], for row vectors."""
  turn, slant, aspect, scale = random.normal(0, 1, (4, samples)) * np.array(
    [[noise.turn], [noise.slant], [noise.aspect], [noise.size]]
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


def _redrawn(
  stroke: Stroke, samples: int, random: np.random.RandomState, noise: Noise
) -> np.ndarray:
  """The path of a stroke in each drawing, with noise: [samples, path points, 2]."""
  shape = (samples, *stroke.points.shape)
  # Points close together keep together: a hand's noise is smooth along the line.
  spacing = np.linalg.norm(np.diff(stroke.points, axis=0), axis=1).mean()
  points = stroke.points + random.normal(0, noise.point * min(1.0, spacing / 0.35), shape)
  points += random.normal(0, noise.stroke, (samples, 1, 2))
  return _spline(len(stroke.points), stroke.rounded) @ points


@functools.cache
def _spline(points: int, rounded: bool) -> np.ndarray:
  """Weights [path points, points] of a Catmull-Rom spline through the points, or of straight lines.

  A piece between two points is a cubic whose slope at a point is half the step between the point's
  two neighbours (at an end: the step to the only one).
  """
  weights: np.ndarray = np.zeros(((points - 1) * _STEPS + 1, points))
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
  """Inks paths [points, 2] with a round pen: uint8 [image_size, image_size]."""
  side = image_size * _PAPER
  width = max(1, round(pen * side))
  paper = Image.new('L', (side, side))
  ink = ImageDraw.Draw(paper)
  for path in paths:
    dots = [(x * side, y * side) for x, y in path.tolist()]
    ink.line(dots, fill=255, width=width, joint='curve')
    for x, y in (dots[0], dots[-1]):  # round ends
      ink.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=255)
  return np.asarray(paper.resize((image_size, image_size), Image.Resampling.LANCZOS))
