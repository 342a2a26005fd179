"""Why a checkpoint is not evaluated, and when that is a reason to end."""

from __future__ import annotations

import collections

from hypertransformer.errors import InputError

ENOUGH = 3  # checkpoints that are refused for the same reason, and none that is evaluated


class Gone(Exception):
  """Says that a checkpoint is not there any more."""


class NotNow(Exception):
  """Says that a checkpoint cannot be evaluated now, but perhaps later: there is no room, say."""


def advice_on_flags(folder_flag: str) -> str:
  """What to do where the flags are not those of the run whose folder `folder_flag` gives."""
  return f'Use the flags of the run (flags.json there lists them), or another --{folder_flag}.'


_ADVICE = {
  'flags': advice_on_flags('train_log_dir'),
  'version': '',  # the message has its own
  'model': advice_on_flags('train_log_dir'),
  'unreadable': 'Copy them anew, or give another --train_log_dir.',
}


class Refused(Exception):
  """Says that a checkpoint cannot be evaluated.

  Attributes:
    kind: 'flags' or 'version' if that is so for every checkpoint of the run, 'model' if its
      variables are other ones, 'unreadable' if it is damaged, or is not complete yet.
  """

  def __init__(self, kind: str, why: str) -> None:
    super().__init__(why)
    self.kind = kind


class Refusals:
  """Counts the checkpoints of a run that were refused.

  Attributes:
    evaluated: whether a checkpoint has been evaluated, now or by an earlier evaluator.
  """

  def __init__(self, log_dir: str) -> None:
    self.evaluated = False
    self._log_dir = log_dir
    self._counts: collections.Counter[str] = collections.Counter()
    self._last: Refused | None = None

  def add(self, refused: Refused, last_step: bool) -> None:
    """Counts a checkpoint that was refused.

    Args:
      refused: why it was.
      last_step: whether it is that of the last step of the training.

    Raises:
      InputError: all checkpoints so far were refused for the same reason, and so will be those to
        come: the run has other flags, or ENOUGH checkpoints or that of the last step are of another
        model. What cannot be read may be complete later.
    """
    self._counts[refused.kind] += 1
    self._last = refused
    enough = last_step or self._counts.total() >= ENOUGH
    if refused.kind in ('flags', 'version') or (refused.kind == 'model' and enough):
      self.require_some_evaluated()

  def require_some_evaluated(self) -> None:
    """Raises InputError if all checkpoints were refused, and for the same reason."""
    if self.evaluated or self._last is None or len(self._counts) > 1:
      return
    raise InputError(
      f'none of the checkpoints in {self._log_dir} can be evaluated ({self._counts.total()} '
      f'tried): {str(self._last).removesuffix(".")}. {_ADVICE[self._last.kind]}'.rstrip()
    )
