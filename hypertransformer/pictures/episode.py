"""Draw episodes: as a grid, beside the kernels generated for them, and samples of a dataset."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from hypertransformer.pictures import attention as attention_lib
from hypertransformer.pictures import canvas, matrices
from hypertransformer.pictures import kernels as kernels_lib

MOST_CLASSES, MOST_SUPPORT, MOST_QUERY = 20, 3, 4  # drawn of a large episode
IN_A_BAND = 10  # classes side by side; further ones are in a second band below
LEFT = 48  # pixels left of the images, for the names of rows
LARGEST_CELL = 56  # pixels
MARGIN = 2  # pixels around an image
FRAME = 2  # pixels, of which the outer one is in the margin
# Of an overview: pixels of a layer and around it, and its channels.
LAYER, GAP, CHANNELS = 209, 14, 8
# Of a contact sheet.
SMALLEST_SHEET_CELL, LARGEST_SHEET_CELL = 56, 128  # pixels, the longer side of an image
LABEL_LETTERS, LABEL_WIDTH = 24, 7  # the longest label, and pixels for each of its letters


def grid(
  support_images: np.ndarray,
  support_labels: np.ndarray,
  query_images: np.ndarray,
  query_labels: np.ndarray,
  predicted: np.ndarray | None = None,
  title: str = 'Episode',
  width: int = canvas.WIDTH,
) -> np.ndarray:
  """Draw support and query images by class, with the predicted class below each query image.

  Wrongly classified query images have a frame. Of a large episode the first classes are drawn, and
  the first images of each.

  Args:
    support_images: [Ns, H, W, C], uint8, or float from -1 to 1.
    support_labels: int [Ns], from 0. Images of a label that no query image has are unlabelled.
    query_images: [Nq, H, W, C].
    query_labels: int [Nq], from 0.
    predicted: int [Nq], the predicted classes; None if nothing is predicted.
    title: what the picture shows.
    width: the largest width, in pixels.

  Returns:
    uint8 [height, width, 3].
  """
  labels = np.unique(query_labels)
  shown = labels[:MOST_CLASSES]
  notes = [f'a column is a class (0 to {labels[-1]}), named at the top']
  if len(shown) < len(labels):
    notes = [f'a column is a class, named at the top; {len(shown)} of {len(labels)} are drawn']
  if predicted is not None:
    right = int((predicted == query_labels).sum())
    title = f'{title}: {right} of {len(query_labels)} queries right'
    notes.append('under a query image: the predicted class; orange frame: wrong')
  side = min(LARGEST_CELL, (width - LEFT) // min(len(shown), IN_A_BAND) - 2 * MARGIN)
  columns = min(width, LEFT + IN_A_BAND * (LARGEST_CELL + 2 * MARGIN))
  parts = [canvas.heading(title, *notes, width=columns)]
  for start in range(0, len(shown), IN_A_BAND):
    band = shown[start : start + IN_A_BAND]
    names = [canvas.box(str(label), 16, side + 2 * MARGIN) for label in band]
    parts += [
      canvas.beside(canvas.box('class', 16, LEFT, 'lm', canvas.GREY), *names),
      *_rows('support', support_images, support_labels, band, MOST_SUPPORT, side),
      canvas.blank(6, 1),
      *_rows('query', query_images, query_labels, band, MOST_QUERY, side, predicted),
      canvas.blank(8, 1),
    ]
  hidden = support_images[~np.isin(support_labels, labels)][:IN_A_BAND]
  if cells := [_image(image, side) for image in hidden]:
    parts += [canvas.heading('Support images without a label'), canvas.beside(*cells)]
  return canvas.below(*parts)


def _rows(
  title: str,
  images: np.ndarray,
  labels: np.ndarray,
  band: np.ndarray,
  most: int,
  side: int,
  predicted: np.ndarray | None = None,
) -> list[np.ndarray]:
  """Draw rows of images, one of each class in a row; side: of an image, in pixels."""
  places = [np.flatnonzero(labels == label)[:most] for label in band]
  rows = []
  for number in range(max(map(len, places))):
    cells = []
    for label, place in zip(band, places, strict=True):
      cell = canvas.blank(1, side + 2 * MARGIN)
      if number < len(place):
        said = label if predicted is None else int(predicted[place[number]])
        cell = _image(images[place[number]], side, said != label)
        if predicted is not None:
          ink = canvas.GREY if said == label else canvas.FRAME
          text = canvas.box(str(said), 13, side + 2 * MARGIN, ink=ink, size=canvas.SMALL)
          cell = canvas.below(cell, text)
      cells.append(cell)
    name = canvas.box(title if number == 0 else '', side + 2 * MARGIN, LEFT, 'lm')
    rows.append(canvas.beside(name, *cells))
  return rows


def _image(image: np.ndarray, side: int, wrong: bool = False) -> np.ndarray:
  """Draw an image with a margin, in which there is a frame if the prediction is wrong."""
  cell = canvas.with_margin(canvas.fitted(canvas.pixels(image), side), MARGIN - 1)
  return canvas.with_margin(canvas.framed(cell, canvas.FRAME, FRAME) if wrong else cell, 1)


def overview(
  support_images: np.ndarray,
  query_images: np.ndarray,
  predicted: Sequence[str],
  names: Sequence[str],
  kernels: Mapping[str, np.ndarray],
) -> np.ndarray:
  """Draw an episode beside the CNN generated for it: support set, kernels, classified queries.

  The picture is about 1250 pixels wide, with text that is readable at 800.

  Args:
    support_images: [K, H, W, C], one image of each class.
    query_images: [K, H, W, C], of the same classes in the same order.
    predicted: the predicted name of each query image.
    names: the name of each class.
    kernels: the generated kernel of each layer, by its name.

  Returns:
    uint8 [height, width, 3].
  """
  right = sum(said == name for said, name in zip(predicted, names, strict=True))
  support = [
    (_image(x, 84), name, canvas.INK) for x, name in zip(support_images, names, strict=True)
  ]
  queries = [
    (_image(x, 84, said != name), said if said == name else f'{said}, not {name}',
     canvas.INK if said == name else canvas.FRAME)
    for x, said, name in zip(query_images, predicted, names, strict=True)
  ]  # fmt: skip
  first, *others = kernels.items()
  drawn = [_layer(*first, 2 * LAYER + GAP)]
  drawn += canvas.in_rows([_layer(*each, LAYER) for each in others], 2)
  return canvas.with_margin(
    canvas.beside(
      _titled('Support set', f'{len(names)} classes, one image each', _cells(support)),
      _arrow(),
      _titled('Generated CNN', 'weights written by a transformer', canvas.below(*drawn)),
      _arrow(),
      _titled('Queries', f'{right} of {len(names)} classified correctly', _cells(queries)),
    ),
    16,
  )


def _layer(name: str, kernel: np.ndarray, width: int) -> np.ndarray:
  """Draw the kernels of a layer above its name; of many channels only the first ones."""
  text, shown, channels = 'logits layer', kernel, kernel.shape[-1]
  if kernel.ndim == 4:
    text = name.replace('layer_', 'convolution ')
    most = CHANNELS if kernel.shape[-2] > 1 else 2 * CHANNELS
    shown = kernel[:, :, :most, :most]
    text += f' ({most} of {channels})' if channels > most else ''
  picture = kernels_lib.mosaic(shown / float(np.abs(kernel).max()), width)
  label = canvas.box(text, 28, picture.shape[1], ink=canvas.GREY, size=18)
  return canvas.beside(canvas.below(picture, label, canvas.blank(8, 1)), canvas.blank(1, GAP))


def _cells(cells: Sequence[tuple[np.ndarray, str, canvas.Colour]]) -> np.ndarray:
  """Draw pictures in rows of four, each with a text in a colour below it."""
  drawn = [
    canvas.below(picture, canvas.box(text, 26, picture.shape[1], ink=ink, size=20))
    for picture, text, ink in cells
  ]
  return canvas.below(*canvas.in_rows(drawn, 4))


def _titled(title: str, note: str, picture: np.ndarray) -> np.ndarray:
  """Draw a picture below a large title and a note."""
  width = max(picture.shape[1], canvas.text_width(title, 28), canvas.text_width(note, 20))
  head = canvas.box(title, 34, width, size=28)
  return canvas.below(head, canvas.box(note, 34, width, ink=canvas.GREY, size=20), picture)


def _arrow() -> np.ndarray:
  """Draw an arrow to the right."""
  image = Image.fromarray(canvas.blank(380, 70))
  pen = ImageDraw.Draw(image)
  pen.line((12, 340, 46, 340), fill=canvas.GREY, width=5)
  pen.polygon([(42, 326), (60, 340), (42, 354)], fill=canvas.GREY)
  return np.asarray(image)


def contact_sheet(rows: Sequence[tuple[str, np.ndarray]]) -> np.ndarray:
  """Draw samples of some classes, one row for each class.

  Args:
    rows: for each class its label and its images, uint8 [n, H, W, C]. Only the end of a long label
      is drawn.

  Returns:
    uint8 [height, width, 3].
  """
  longest = max(len(label) for label, _ in rows)
  width = 8 + LABEL_WIDTH * min(longest, LABEL_LETTERS)
  drawn = []
  for label, images in rows:
    text = label if len(label) <= LABEL_LETTERS else '..' + label[2 - LABEL_LETTERS :]
    cells = [canvas.with_margin(_sheet_cell(image), MARGIN) for image in images]
    drawn.append(canvas.beside(canvas.box(text, len(cells[0]), width, 'lm'), *cells))
  return canvas.below(*drawn)


def _sheet_cell(image: np.ndarray) -> np.ndarray:
  picture, side = canvas.pixels(image), max(image.shape[:2])
  if side < SMALLEST_SHEET_CELL:  # whole factors show exactly the pixels that the model gets
    return canvas.enlarged(picture, -(-SMALLEST_SHEET_CELL // side))
  return picture if side <= LARGEST_SHEET_CELL else canvas.fitted(picture, LARGEST_SHEET_CELL)


@dataclasses.dataclass(frozen=True)
class Record:
  """What a model did with an episode.

  Attributes:
    support_images: [Ns, H, W, C], uint8, or float from -1 to 1.
    support_labels: int [Ns], from 0; a label that no query has stands for a hidden one.
    query_images: [Nq, H, W, C].
    query_labels: int [Nq].
    predicted: int [Nq], the predicted classes of the query images.
    num_classes: the number of classes to choose from.
    kernels: the generated kernel of each layer, by its name: see kernels.draw.
    attention: the attention of each layer's generator, by its name: see attention.draw.
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
  """Draw all pictures of an episode.

  Args:
    record: the episode.
    kernels_before: the kernels of another episode, generated by the same model; the differences
      are drawn. Empty if there is no other episode.
    name: the name of the episode in tags, such as 'val'.

  Returns:
    Pictures, uint8 [height, width, 3], by TensorBoard tag.
  """
  title = name.replace('_', ' ')
  labels, predicted = record.query_labels, record.predicted
  support = record.support_images, record.support_labels
  found = {
    f'episode/{name}': grid(*support, record.query_images, labels, predicted, title),
    f'confusion/{name}': matrices.confusion(labels, predicted, int(record.num_classes), title),
  }
  for layer, kernel in record.kernels.items():
    found[f'kernels/{name}/{layer}'] = kernels_lib.draw(
      kernel, kernels_before.get(layer), f'{layer}: kernels'
    )
  for layer, weights in record.attention.items():
    found[f'attention/{name}/{layer}'] = attention_lib.draw(
      weights, record.support_labels, f'{layer}: attention'
    )
  if record.accuracies is not None:
    found[f'accuracy_matrix/{name}'] = matrices.accuracies(record.accuracies, title)
  return found


def kernel_changes(
  record: Record, kernels_before: Mapping[str, np.ndarray], name: str
) -> dict[str, float]:
  """Return the relative change of the kernels from those of another episode, by tag."""
  return {
    f'kernel_change/{name}/{layer}': kernels_lib.relative_change(kernel, kernels_before[layer])
    for layer, kernel in record.kernels.items()
    if layer in kernels_before
  }
