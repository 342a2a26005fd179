"""What a run says of itself when it goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hypertransformer.settings import flags
from hypertransformer.training import record


@pytest.mark.parametrize(
  ('cooldown', 'step', 'train_steps', 'warns'),
  [
    (0.25, 80, 200, True),
    (0.25, 100, 101, True),
    (0.25, 75, 200, False),  # the rate has not fallen yet
    (0.25, 80, 100, False),  # the end is where it was to be
    (0.0, 100, 200, False),
  ],
)
def test_another_end_of_a_run_in_its_cooldown_is_warned_of(
  make_values: Callable[..., Any],
  warnings: list[str],
  cooldown: float,
  step: int,
  train_steps: int,
  warns: bool,
) -> None:
  before = make_values(train_steps=100, learning_rate_cooldown=cooldown)
  now = flags.settings_from(before | {'train_steps': train_steps})
  record.warn_of_cooldown(now.run, before, step)
  assert len(warnings) == warns
  if warns:
    assert 'falling since step 75, as it was to end at step 100' in warnings[0]
    assert f'With train_steps={train_steps} it rises again' in warnings[0]
