"""Which evaluations are done already, so that a restarted evaluator does not repeat them."""

from __future__ import annotations

import os
from collections.abc import Sequence

from absl import logging

from hypertransformer.evaluation import measured
from hypertransformer.evaluation.measured import Measured, ResultFile
from hypertransformer.evaluation.places import Places
from hypertransformer.evaluation.results import Line
from hypertransformer.settings import flags, flags_file


class Done:
  """Knows which results there are.

  A result counts for a checkpoint with the same index, wherever that lies, if it was measured on
  the same. Lines of older versions do not say so much. They count as those versions had it: if
  eval/flags.json says the same flags, and the checkpoint at that path is older than the results.
  That is so only as long as all lines are such: afterwards nobody knows how old they are.
  """

  def __init__(self, places: Places, values: flags.Values) -> None:
    """Writes eval/flags.json, unless that tells what lines of an older version are about.

    Args:
      places: where the results are.
      values: the value of every flag by its name.

    Raises:
      InputError: eval/flags.json is there and cannot be read.
    """
    self._log_dir = places.log_dir
    lines = ResultFile(places.results).read()
    folder = str(places.eval_dir)
    same = flags_file.same_evaluation_flags(folder, values)
    self._older_than: float | None = None
    if any(_is_old(line) for line in lines):
      if same and all(_is_old(line) for line in lines):
        self._older_than = places.results.stat().st_mtime
      return
    try:
      flags_file.write_evaluation_flags(folder, values)
    except OSError as error:
      logging.warning(
        '%s/%s cannot be written (%s); it is not needed for results.',
        folder,
        flags_file.FLAGS_FILE,
        error.strerror,
      )

  def has(
    self, lines: Sequence[Line], prefix: str, modified: float, digest: str, preset: str,
    wanted: Measured,
  ) -> bool:  # fmt: skip
    """Whether there is a result for this checkpoint and preset that was measured on the same.

    Args:
      lines: all results.
      prefix: the path of the checkpoint.
      modified: when its index was written, in seconds since 1970.
      digest: the SHA-256 of its index.
      preset: the name of the preset.
      wanted: what it would be measured on.
    """
    return any(
      line['preset'] == preset
      and (
        self._has_old(line, prefix, modified, wanted)
        if _is_old(line)
        else line.get('checkpoint_sha256') == digest and measured.of_line(line) == wanted
      )
      for line in lines
    )

  def _has_old(self, line: Line, prefix: str, modified: float, wanted: Measured) -> bool:
    """Whether a line of an older version is the result of this checkpoint."""
    found = measured.of_line(line)
    return (
      self._older_than is not None
      and modified <= self._older_than
      and all(
        getattr(found, name) == getattr(wanted, name) for name in measured.KNOWN_TO_ALL_VERSIONS
      )
      and self._is_at(line['checkpoint'], prefix)
    )

  def _is_at(self, written: str, prefix: str) -> bool:
    """Whether a path in an old line is that of a checkpoint, in a folder that may have moved."""
    if os.path.abspath(written) == os.path.abspath(prefix):
      return True
    here = os.path.samefile(os.path.dirname(prefix) or '.', self._log_dir)
    moved = here and not os.path.exists(os.path.dirname(written) or '.')
    return moved and os.path.basename(written) == os.path.basename(prefix)


def _is_old(line: Line) -> bool:
  """Whether a line is of a version that did not write down what it was measured on."""
  return not line.get('measured')
