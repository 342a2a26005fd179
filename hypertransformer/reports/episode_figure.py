"""The figure of one episode: a row for each class, before and after augmentation."""

from __future__ import annotations

from typing import Any

import numpy as np

from hypertransformer.reports import drawing
from hypertransformer.reports.episodes import DrawnEpisode, Images

ROWS, SUPPORT, QUERY = 8, 3, 4  # classes, and images of each, that are shown at most
_GAP = 0.08  # between images, as a part of their side
_WIDTH = 9.0  # inches


def figure(episode: DrawnEpisode) -> Any:
  """Draws the episode; of many classes and images only the first ones are shown."""
  shown = _Shown(episode)
  with drawing.style():
    cell = _WIDTH / (2 * shown.columns + 2.2)
    height = cell * shown.aspect * len(shown.rows) * (1 + _GAP) + 1.1
    drawn = drawing.figure(_WIDTH, height)
    left, right = drawing.panels(drawn, 1, 2)
    drawn.get_layout_engine().set(wspace=0.1)
    _panel(left, shown, episode.before, 'as stored')
    _panel(right, shown, episode.after, 'as the model sees it')
    left.set_yticks(
      [row + 0.5 for row in range(len(shown.rows))],
      [f'label {row}\nclass {episode.classes[row]}' for row in shown.rows],
    )
    left.tick_params(length=0)
    drawn.suptitle(_title(episode, shown))
    return drawn


class _Shown:
  """Which images of an episode are shown, and where.

  Attributes:
    rows: the classes, by their label.
    support: for each row the numbers of its support images.
    query: for each row the numbers of its query images.
    columns: how many images the longest row has, the space between support and query included.
    aspect: height of an image divided by its width.
  """

  def __init__(self, episode: DrawnEpisode) -> None:
    self.rows = list(range(min(len(episode.classes), ROWS)))
    self.support = [np.flatnonzero(episode.support_positions == row) for row in self.rows]
    self.query = [np.flatnonzero(episode.query_positions == row) for row in self.rows]
    self.in_all = max(map(len, self.support)), max(map(len, self.query))
    self.support = [numbers[:SUPPORT] for numbers in self.support]
    self.query = [numbers[:QUERY] for numbers in self.query]
    self.hidden = [episode.hidden[numbers] for numbers in self.support]
    self.query_from = max(map(len, self.support)) + 0.4
    self.columns = self.query_from + max(map(len, self.query))
    self.aspect = episode.before.support.shape[1] / episode.before.support.shape[2]


def _panel(axes: Any, shown: _Shown, images: Images, title: str) -> None:
  """Draws the images of one stage; the unit of both axes is one image."""
  for row, (support, query) in enumerate(zip(shown.support, shown.query, strict=True)):
    for column, number in enumerate(support):
      hidden = bool(shown.hidden[row][column])
      _image(axes, images.support[number], column, row, drawing.COLOURS[1] if hidden else None)
    for column, number in enumerate(query):
      _image(axes, images.query[number], shown.query_from + column, row, None)
  axes.set(xlim=(0, shown.columns), ylim=(len(shown.rows), 0), yticks=[])
  axes.set_aspect(shown.aspect if title == 'as stored' else 1)
  axes.set_xticks(
    [max(map(len, shown.support)) / 2, (shown.query_from + shown.columns) / 2], ['support', 'query']
  )
  axes.xaxis.tick_top()
  axes.tick_params(length=0)
  axes.set_title(title, fontweight='bold')
  for spine in axes.spines.values():
    spine.set_visible(False)


def _image(axes: Any, image: np.ndarray, left: float, top: int, frame: str | None) -> None:
  gap = _GAP / 2
  extent = (left + gap, left + 1 - gap, top + 1 - gap, top + gap)
  shown = image[..., 0] if image.shape[-1] == 1 else image
  axes.imshow(shown, cmap='gray', vmin=0, vmax=1, extent=extent, interpolation='nearest')
  if frame is not None:
    axes.plot(
      [left, left + 1, left + 1, left, left], [top, top, top + 1, top + 1, top], color=frame
    )


def _title(episode: DrawnEpisode, shown: _Shown) -> str:
  support, query = shown.in_all
  title = (
    f'One episode of {episode.dataset}: {len(episode.classes)} classes, {support} support and '
    f'{query} query images of each'
  )
  cut = len(shown.rows) < len(episode.classes) or support > SUPPORT or query > QUERY
  notes = ['not all are shown'] if cut else []
  if episode.hidden.any():
    notes.append('framed: its label is hidden')
  return f'{title}\n{"; ".join(notes)}' if notes else title
