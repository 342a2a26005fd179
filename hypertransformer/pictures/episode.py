"""Draws an episode as a grid, and all pictures of what a model did with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from hypertransformer.pictures import attention as attention_lib
from hypertransformer.pictures import canvas, matrices
from hypertransformer.pictures import kernels as kernels_lib

LEFT = 48  # pixels left of the images, for the names of rows
IN_A_BAND = 10  # classes side by side; further ones are in a second band below
LARGEST_CELL = 56  # pixels
CAPTION = 13  # pixels below a query image, for the predicted class
MARGIN = 2  # pixels around an image
FRAME = 2  # pixels, of which the outer one is in the margin


@dataclasses.dataclass(frozen=True)
class Limits:
  """How much of a large episode is drawn: the first classes, and the first images of each."""

  classes: int = 20
  support: int = 3
  query: int = 4


def grid(
  support_images: np.ndarray,
  support_labels: np.ndarray,
  query_images: np.ndarray,
  query_labels: np.ndarray,
  predicted: np.ndarray | None = None,
  title: str = 'Episode',
  limits: Limits | None = None,
) -> np.ndarray:
  """Draws support and query images by class, with the predicted class below each query image.

  Wrongly classified query images have a frame.

  Args:
    support_images: [Ns, H, W, C], uint8, or float from -1 to 1.
    support_labels: int [Ns], from 0. Images of a label that no query image has are unlabelled.
    query_images: [Nq, H, W, C].
    query_labels: int [Nq], from 0.
    predicted: int [Nq], what the model says of the query images; None if nothing is predicted.
    title: what the picture shows.
    limits: how much to draw of a large episode; None for the usual limits.

  Returns:
    uint8 [height, width, 3].
  """
  limits = limits or Limits()
  there = np.unique(query_labels)
  shown = there[: limits.classes]
  notes = [f'a column is a class (0 to {there[-1]}), named at the top']
  if len(shown) < len(there):
    notes = [f'a column is a class, named at the top; {len(shown)} of {len(there)} are drawn']
  if predicted is not None:
    right = int((predicted == query_labels).sum())
    title = f'{title}: {right} of {len(query_labels)} queries right'
    notes.append('under a query image: the predicted class; orange frame: wrong')
  support = _Images(support_images, support_labels, None, limits.support)
  query = _Images(query_images, query_labels, predicted, limits.query)
  parts = [canvas.heading(title, *notes)]
  for start in range(0, len(shown), IN_A_BAND):
    labels = shown[start : start + IN_A_BAND]
    parts += [_band(support, query, labels, _side(min(len(shown), IN_A_BAND))), canvas.blank(8, 1)]
  hidden = support_images[~np.isin(support_labels, there)][:IN_A_BAND]
  if len(hidden):
    cells = [_image(image, _side(IN_A_BAND)) for image in hidden]
    parts += [canvas.heading('Support images without a label'), canvas.beside(*cells)]
  return canvas.below(*parts)


@dataclasses.dataclass(frozen=True)
class _Images:
  """The support or query images, and how many of a class are drawn at most."""

  images: np.ndarray
  labels: np.ndarray
  predicted: np.ndarray | None
  limit: int

  def of(self, label: int) -> np.ndarray:
    """The places of the images of a class that are drawn, int [n]."""
    return np.flatnonzero(self.labels == label)[: self.limit]


def _side(columns: int) -> int:
  """The side of an image if so many columns are side by side, in pixels."""
  return min(LARGEST_CELL, (canvas.WIDTH - LEFT) // columns - 2 * MARGIN)


def _band(support: _Images, query: _Images, labels: np.ndarray, side: int) -> np.ndarray:
  """Draws the columns of some classes, with the names of the rows at the left."""
  above = max(len(support.of(label)) for label in labels) * (side + 2 * MARGIN)
  columns = [_names(above, side)]
  for label in labels:
    column = canvas.below(
      canvas.blank(0, side + 2 * MARGIN),
      *(_image(support.images[place], side) for place in support.of(label)),
    )
    gap = canvas.blank(above - len(column) + 6, 1)
    asked = (_query(query, place, side) for place in query.of(label))
    name = canvas.box(str(label), 16, side + 2 * MARGIN)
    columns.append(canvas.below(name, column, gap, *asked))
  return canvas.beside(*columns)


def _names(above: int, side: int) -> np.ndarray:
  """The names of the rows; above: the height of all support images, in pixels."""
  return canvas.below(
    canvas.box('class', 16, LEFT, 'lm', canvas.GREY),
    canvas.box('support', side + 2 * MARGIN, LEFT, 'lm'),
    canvas.blank(max(0, above - side - 2 * MARGIN) + 6, LEFT),
    canvas.box('query', side + 2 * MARGIN, LEFT, 'lm'),
  )


def _image(image: np.ndarray, side: int, wrong: bool = False) -> np.ndarray:
  """An image with a margin, in which there is a frame if the answer is wrong."""
  cell = canvas.with_margin(canvas.fitted(canvas.pixels(image), side), MARGIN - 1)
  return canvas.with_margin(canvas.framed(cell, canvas.FRAME, FRAME) if wrong else cell, 1)


def _query(query: _Images, place: int, side: int) -> np.ndarray:
  """A query image with its predicted class below it, if there is one."""
  if query.predicted is None:
    return _image(query.images[place], side)
  said = int(query.predicted[place])
  wrong = said != query.labels[place]
  ink = canvas.FRAME if wrong else canvas.GREY
  text = canvas.box(str(said), CAPTION, side + 2 * MARGIN, ink=ink, size=canvas.SMALL)
  return canvas.below(_image(query.images[place], side, wrong), text)


@dataclasses.dataclass(frozen=True)
class Record:
  """What a model did with an episode.

  Attributes:
    support_images: [Ns, H, W, C], uint8, or float from -1 to 1.
    support_labels: int [Ns], from 0; a number that is no query label stands for a hidden one.
    query_images: [Nq, H, W, C].
    query_labels: int [Nq].
    predicted: int [Nq], what the model says of the query images.
    num_classes: how many classes there are to choose from.
    kernels: the generated kernel of each layer, by its name: see kernels_lib.draw.
    attention: the attention of each layer's generator, by its name: see attention_lib.draw.
    accuracies: of a sequence of tasks, [tasks learned, task asked]: see matrices.accuracies.
  """

  support_images: np.ndarray
  support_labels: np.ndarray
  query_images: np.ndarray
  query_labels: np.ndarray
  predicted: np.ndarray
  num_classes: int
  kernels: Mapping[str, np.ndarray]
  attention: Mapping[str, Sequence[np.ndarray]]
  accuracies: np.ndarray | None = None


def pictures(
  record: Record, kernels_before: Mapping[str, np.ndarray], name: str
) -> dict[str, np.ndarray]:
  """Draws all pictures of an episode.

  Args:
    record: the episode.
    kernels_before: the kernels of another episode, made by the same model; their differences are
      drawn. Empty if there is no other episode.
    name: what the episode is called in tags, such as 'val'.

  Returns:
    Pictures, uint8 [height, width, 3], by tag.
  """
  title = name.replace('_', ' ')
  table = matrices.confusion_counts(record.query_labels, record.predicted, int(record.num_classes))
  found = {
    f'episode/{name}': grid(
      record.support_images,
      record.support_labels,
      record.query_images,
      record.query_labels,
      record.predicted,
      title,
    ),
    f'confusion/{name}': matrices.confusion(table, title),
  }
  for layer, kernel in record.kernels.items():
    found[f'kernels/{name}/{layer}'] = kernels_lib.draw(
      kernel, kernels_before.get(layer), f'{layer}: kernels'
    )
  for layer, attention in record.attention.items():
    found[f'attention/{name}/{layer}'] = attention_lib.draw(
      attention, record.support_labels, f'{layer}: attention'
    )
  if record.accuracies is not None:
    found[f'accuracy_matrix/{name}'] = matrices.titled_accuracies(record.accuracies, title)
  return found


def kernel_changes(
  record: Record, kernels_before: Mapping[str, np.ndarray], name: str
) -> dict[str, float]:
  """Measures how much the kernels differ from those of another episode, by tag."""
  return {
    f'kernel_change/{name}/{layer}': kernels_lib.relative_change(kernel, kernels_before[layer])
    for layer, kernel in record.kernels.items()
    if layer in kernels_before
  }
