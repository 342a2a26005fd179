"""What all tasks of a cluster must agree on: the folder of the run and the flags."""

from __future__ import annotations

import os
import pathlib
import time
from collections.abc import Mapping
from typing import Any

from hypertransformer.cluster.board import Run
from hypertransformer.errors import require
from hypertransformer.settings import flags

MARK = 'cluster.token'  # the file in the folder of the run
SECONDS_TO_APPEAR = 10.0  # shared folders can show a new file late


def mark(folder: str, token: str) -> None:
  """Writes the token of the chief into the folder of the run, by which others know the folder.

  It stays there, as others may look for it when the chief has ended already.
  """
  path = pathlib.Path(folder, MARK)
  aside = path.with_suffix('.part')
  aside.write_text(token)
  os.replace(aside, path)


def require_same_folder(folder: str, run: Run) -> None:
  """Checks that a folder is the one that the chief writes to.

  Raises:
    InputError: it is another one.
  """
  path = pathlib.Path(folder, MARK)
  deadline = time.monotonic() + SECONDS_TO_APPEAR
  while not (path.exists() and path.read_text() == run.token):
    require(
      time.monotonic() < deadline,
      f'train_log_dir {folder} of this task is not the folder in which the chief trains: all tasks '
      'read checkpoints from it, so give all of them one folder that the machines share, such as a '
      'network drive.',
    )
    time.sleep(0.2)


def require_same_flags(values: Mapping[str, Any], run: Run) -> None:
  """Checks that this task has the flags of the chief, but for those of its machine.

  Raises:
    InputError: a flag differs.
  """
  chief = run.flag_values
  changed = [
    f'--{name} is {value!r}, that of the chief {chief.get(name)!r}'
    for name, value in values.items()
    if name in flags.affecting('training') and name != 'seed' and chief.get(name) != value
  ]
  require(
    not changed,
    f'the flags differ from those of the chief: {"; ".join(changed)}. Start all tasks of a cluster '
    'with the same command line.',
  )
