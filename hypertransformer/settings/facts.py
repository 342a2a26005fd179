"""What a report says of a run by its flags, also of a run that today's settings would refuse."""

from __future__ import annotations

import dataclasses

from hypertransformer.settings.flags import Values


@dataclasses.dataclass(frozen=True)
class Facts:
  """A few flags of a run, by what they mean.

  Attributes:
    seed: the seed of the training; None if it was not written down.
    train_steps: the updates that it was to make.
    way: K, the classes of one task.
    support_images: Ns, the support images of one task.
    test_dataset: the name of the dataset of its test tasks.
  """

  seed: int | None
  train_steps: int
  way: int
  support_images: int
  test_dataset: str


def facts(v: Values) -> Facts:
  """Picks the facts out of all flag values of a run."""
  return Facts(
    v['seed'],
    v['train_steps'],
    v['num_labels'],
    v['samples_transformer'],
    str(v['test_dataset']).partition(':')[0],
  )
