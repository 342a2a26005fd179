"""What is told of a run by its flags alone."""

from __future__ import annotations

from typing import Any

import pytest

from hypertransformer.settings.flags import defaults
from hypertransformer.settings.flags_file import facts


@pytest.mark.parametrize(
  ('changes', 'shots'),
  [
    ({'samples_transformer': 100}, 5),
    ({'samples_transformer': 100, 'unlabeled_samples_per_class': 2}, 3),
    ({'samples_transformer': 10}, 1),  # not balanced: half of the classes have an image
  ],
)
def test_shots_are_the_labelled_images_of_a_class(changes: dict[str, Any], shots: int) -> None:
  assert facts(defaults() | {'num_labels': 20} | changes).shots == shots


@pytest.mark.parametrize(('part', 'step'), [(0.0, 200), (0.25, 150), (1.0, 0)])
def test_the_step_from_which_the_learning_rate_falls(part: float, step: int) -> None:
  values = defaults() | {'train_steps': 200, 'learning_rate_cooldown': part}
  assert facts(values).cooldown_from == step
