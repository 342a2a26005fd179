"""The lines of progress of the training. Those of a run are in test_hooks.py."""

from __future__ import annotations

import pytest

from hypertransformer.training import progress_lines


def test_the_first_line_does_not_wait_for_a_record(
  lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
  clock = [100.0]
  monkeypatch.setattr('time.monotonic', lambda: clock[0])
  told = progress_lines.ProgressLines(1000)
  told.step(1, [{'loss/loss': 3.0}])
  clock[0] += 11.0
  told.step(2, [{'loss/loss': 3.0}, {'loss/loss': 1.0}])
  clock[0] += 11.0
  told.step(3, [{'loss/loss': 3.0}, {'loss/loss': 1.0}, {'loss/loss': 8.0}])
  assert lines == [
    'step 2 of 1000  loss 2.000  0.1 steps/s  3 h 02 min left',
    'step 3 of 1000  loss 4.000  0.1 steps/s  3 h 02 min left',
  ]


class Shown:
  """Takes the place of a TerminalLine, and keeps what it is told."""

  def __init__(self) -> None:
    self.told: list[tuple[int, str | None]] = []

  def show(self, done: int, text: str | None = None) -> None:
    self.told.append((done, text))


def test_a_line_on_a_terminal_takes_the_place_of_the_log(lines: list[str]) -> None:
  shown = Shown()
  told = progress_lines.ProgressLines(2, shown)  # type: ignore[arg-type]
  told.step(1, [{'loss/loss': 3.0}])
  told.record(2, {'loss/loss': 2.0})
  assert shown.told == [(1, None), (2, 'loss 2.000')]
  assert lines == []


@pytest.mark.parametrize(
  ('means', 'text'),
  [
    (
      {'loss/loss': 1.25, 'accuracy/accuracy': 0.5, 'accuracy/test_accuracy': 0.25},
      'loss 1.250  accuracy 50.0 %  test 25.0 %',
    ),
    (
      {'loss/shared_head_loss': 2.0, 'accuracy/shared_head_accuracy': 0.125},
      'loss 2.000  real classes 12.5 %',
    ),
  ],
)
def test_a_line_of_progress_has_loss_and_accuracies(means: dict[str, float], text: str) -> None:
  assert progress_lines.describe(means) == text
