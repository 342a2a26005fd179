"""Shows how far long work is: a progress bar on a terminal, a line every 10 seconds elsewhere."""

from __future__ import annotations

import os
import sys

from absl import logging
from tqdm import tqdm
from tqdm.contrib import DummyTqdmFile

_SECONDS_ON_TERMINAL, _SECONDS_ELSEWHERE = 0.25, 10.0  # between two updates


class _LogLines:
  """A file for tqdm that turns each state of the bar into a line of the log."""

  def write(self, text: str) -> None:
    if line := text.strip():
      logging.info('%s', line)

  def flush(self) -> None:
    pass


def progress(what: str, total: int, unit: str = '', done: int = 0) -> tqdm:
  """Return a progress bar, to be used in a `with` and told by `show` or its `update`.

  Lines of the log are written above the bar. Where stderr is not a terminal, the bar is a line of
  the log every 10 seconds.

  Args:
    what: the name of the work.
    total: units of work at the end.
    unit: their name, in the plural.
    done: units of work that are finished already.
  """
  terminal = sys.stderr.isatty()
  if terminal:
    logging.get_absl_handler().python_handler.setStream(DummyTqdmFile(sys.stderr))
  sized = terminal and 0 not in os.get_terminal_size(sys.stderr.fileno())  # some tell 0
  seconds = _SECONDS_ON_TERMINAL if terminal else _SECONDS_ELSEWHERE
  text = ' '.join(filter(None, ['{desc}: {n_fmt}/{total_fmt}', unit]))
  return tqdm(
    desc=what,
    total=total,
    initial=done,
    unit='',
    bar_format=text + '{postfix}, {rate_noinv_fmt}, {remaining} left' + ' {bar}' * terminal,
    file=sys.stderr if terminal else _LogLines(),
    mininterval=seconds,
    miniters=1,
    delay=0.0 if terminal else seconds,
    dynamic_ncols=sized,
    ncols=80 if terminal and not sized else None,
    nrows=24 if terminal and not sized else None,
  )


def show(bar: tqdm, done: int, text: str = '') -> None:
  """Tell a bar how many units are finished, and what to show beside them from now on."""
  if text:
    bar.set_postfix_str(text, refresh=False)
  bar.update(min(done, bar.total) - bar.n)  # a cluster can do more than the total
