"""How a process leaves a cluster: at once.

TensorFlow would close its sessions first, and wait for ever for parameter servers that have ended.
"""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator
from typing import NoReturn

from absl import logging

from hypertransformer.cluster.lost import ServerLost


def leave(status: int) -> NoReturn:
  """Ends the process with this exit status, after all that it has said is written."""
  logging.flush()
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(status)


@contextlib.contextmanager
def at_once() -> Iterator[None]:
  """Ends the process after the block, with the exit status that the block leads to."""
  try:
    yield
  except ServerLost as error:
    logging.error('%s', error)
    leave(1)
  except SystemExit as error:
    leave(error.code if isinstance(error.code, int) else int(error.code is not None))
  except BaseException:
    traceback.print_exc()
    leave(1)
  leave(0)
