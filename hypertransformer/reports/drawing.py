"""What all figures share: matplotlib, the colours, and writing them as SVG or PNG.

This is the only file that imports matplotlib, and only when a figure is drawn.
"""

from __future__ import annotations

import importlib.util
import io
import pathlib
import re
from typing import Any

from hypertransformer.data import files
from hypertransformer.errors import InputError

# Colours of Okabe and Ito, which colour-blind people can tell apart. Each is seen on white and on
# black; their yellow and black are not among them.
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9')
# Of text, axes and grids. In SVG it becomes `currentColor`, the colour of the text around.
INK = '#0b0c0d'
ENDINGS = ('.png', '.svg')
PNG_DOTS_PER_INCH = 150
WIDTH = 5.2  # inches, of a figure of one pair of axes; a telephone shows it at about 70 %
SMALL = 10  # points, of text beside the data
_FONT_SIZE = 11
_STYLE: dict[Any, Any] = {
  'font.size': _FONT_SIZE,
  'axes.titlesize': _FONT_SIZE,
  'svg.fonttype': 'none',  # letters stay letters: they can be searched, and a page is small
  'text.parse_math': False,  # names of folders are no formulas
  'svg.hashsalt': 'hypertransformer',  # the same figure is the same file
  'axes.spines.top': False,
  'axes.spines.right': False,
  **dict.fromkeys(
    ('text.color', 'axes.labelcolor', 'axes.edgecolor', 'xtick.color', 'ytick.color'), INK
  ),
  'grid.color': INK,
  'grid.alpha': 0.15,
  'grid.linewidth': 0.8,
}
# In a file of its own an SVG chooses the colour of its text by the mode of the reader's system.
_OF_A_FILE = (
  '<style>svg{color:#1a1a1a}@media(prefers-color-scheme:dark){svg{color:#e8e8e8}}</style>'
)


def require_matplotlib() -> None:
  """Raises InputError unless matplotlib, which draws the figures, is installed."""
  if importlib.util.find_spec('matplotlib') is None:
    raise InputError(
      'the pictures are drawn by matplotlib, which is not installed: pip install ".[report]" in '
      'the checkout of hypertransformer, or pip install matplotlib.'
    )


def style() -> Any:
  """Gives figures our style within a `with`, in which they are made.

  Raises:
    InputError: matplotlib is not installed.
  """
  require_matplotlib()
  import matplotlib

  return matplotlib.rc_context(_STYLE)


def figure(width: float, height: float) -> Any:
  """Makes an empty matplotlib figure with a transparent ground; call it within `style`.

  Args:
    width: its width in inches.
    height: its height in inches.
  """
  from matplotlib.figure import Figure

  made = Figure(figsize=(width, height), layout='constrained')
  made.patch.set_alpha(0)
  return made


def panels(drawn: Any, rows: int, columns: int, **arguments: Any) -> list[Any]:
  """Adds axes to a figure, and returns them in a flat list, row by row; grounds are transparent."""
  made = drawn.subplots(rows, columns, squeeze=False, **arguments)
  for axes in made.flat:
    axes.patch.set_alpha(0)
  return list(made.flat)


def blue_white_orange() -> Any:
  """The colours from negative over zero to positive, which colour-blind people can tell apart."""
  from matplotlib.colors import LinearSegmentedColormap

  return LinearSegmentedColormap.from_list('weights', ['#2166AC', '#F7F7F7', '#B35806'])


def svg(drawn: Any, description: str) -> str:
  """Writes a figure as an <svg> element to stand inside of a page.

  Args:
    drawn: the matplotlib figure.
    description: what a person who cannot see it is told.
  """
  buffer = io.StringIO()
  none = dict.fromkeys(('Date', 'Creator', 'Format', 'Type'))
  with style():
    drawn.savefig(buffer, format='svg', metadata=none)
  text = buffer.getvalue()
  text = text[text.index('<svg') :].strip()
  text = re.sub(r'<g id="[^"]*"', '<g', text)  # ids of groups would repeat from figure to figure
  text = text.replace(INK, 'currentColor')
  label = description.replace('&', '&amp;').replace('"', '&quot;').replace('<', '&lt;')
  return text.replace('<svg', f'<svg role="img" aria-label="{label}"', 1)


def svg_file(drawn: Any, description: str) -> bytes:
  """Writes a figure as the content of an .svg file; see `svg`."""
  element = svg(drawn, description)
  start = element.index('>') + 1
  return (element[:start] + _OF_A_FILE + element[start:] + '\n').encode()


def check_output(path: pathlib.Path) -> None:
  """Raises InputError unless a figure can be written into a file of this name."""
  if path.suffix.lower() not in ENDINGS:
    raise InputError(f'--output={path} must end in {" or ".join(ENDINGS)}.')
  if path.is_dir():
    raise InputError(f'--output={path} is a folder; give the name of a file.')
  require_matplotlib()


def save(drawn: Any, path: pathlib.Path, description: str) -> None:
  """Writes a figure into a .png or .svg file, whole or not at all. An older file is replaced.

  Raises:
    InputError: the file cannot be written.
  """
  check_output(path)
  with files.atomic_file(path) as file:
    if path.suffix.lower() == '.svg':
      file.write(svg_file(drawn, description))
    else:
      drawn.savefig(file, format='png', dpi=PNG_DOTS_PER_INCH, facecolor='white')
