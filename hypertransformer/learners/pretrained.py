"""The trained models that come with the package, in hypertransformer/pretrained/NAME/.

Each has a checkpoint, the flags.json of its training, and a card.json: the command, the number of
steps, the accuracy with its interval, the data and its licence.
"""

from __future__ import annotations

import pathlib

from hypertransformer.errors import InputError

FOLDER = pathlib.Path(__file__).resolve().parents[1] / 'pretrained'
CARD = 'card.json'


def pretrained_names() -> list[str]:
  """Names of the models that come with the package, sorted."""
  return sorted(path.parent.name for path in FOLDER.glob(f'*/{CARD}'))


def pretrained_folder(name: str) -> pathlib.Path:
  """The folder of a model that comes with the package.

  Raises:
    InputError: There is no model of this name.
  """
  names = pretrained_names()
  if name not in names:
    raise InputError(
      f'there is no pretrained model {name!r}; there are: {", ".join(names) or "none"}. For one of '
      'your own give the path of its checkpoint.'
    )
  return FOLDER / name
