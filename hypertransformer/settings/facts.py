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
    shots: the labelled ones of each class; on average, and at least 1, if they vary.
    cooldown_from: the step from which the learning rate falls to 0; train_steps if it does not.
    test_dataset: the name of the dataset of its test tasks.
  """

  seed: int | None
  train_steps: int
  way: int
  support_images: int
  shots: int
  cooldown_from: int
  test_dataset: str


def facts(v: Values) -> Facts:
  """Picks the facts out of all flag values of a run."""
  return Facts(
    v['seed'],
    v['train_steps'],
    v['num_labels'],
    v['samples_transformer'],
    max(1, v['samples_transformer'] // v['num_labels'] - v['unlabeled_samples_per_class']),
    round((1 - v['learning_rate_cooldown']) * v['train_steps']),
    str(v['test_dataset']).partition(':')[0],
  )
