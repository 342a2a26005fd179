"""Watches test episodes beside training: their pictures, and histograms of the gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

from hypertransformer.pictures import episode as episode_pictures
from hypertransformer.runtime import tensorboard
from hypertransformer.runtime.tensorboard import EventWriter
from hypertransformer.training import optimizer
from hypertransformer.training.graph import TrainGraph

TEST_EPISODE = 'test_episode'  # its name in tags
MOST_TIMES = 100  # how often a run is watched at most, so that its event file stays small


def rhythm(train_steps: int, least: int) -> int:
  """How many steps there are from one look to the next, a multiple of `least`."""
  return least * max(1, -(-train_steps // (MOST_TIMES * least)))


class EpisodeWatch:
  """What is fetched at some steps beside the scalars, and what is written of it.

  The kernels generated for a test episode are compared with those of the training episode of the
  same step. Only one update lies between the two, so the difference is that of the episodes. Test
  episodes follow one another only after many updates.

  Attributes:
    step_fetches: what is to be run in the training step.
    test_fetches: what is to be run with the test episode after it.
    every: how many steps there are from one look to the next.
  """

  def __init__(self, graph: TrainGraph, every: int) -> None:
    """Builds the histograms of the gradients.

    Args:
      graph: the training graph, which is the default graph.
      every: how many steps there are from one look to the next.
    """
    self.every = every
    self.step_fetches: dict[str, Any] = {
      'gradients': tensorboard.histogram_summary(optimizer.by_layer(graph.gradients)),
      'kernels': graph.shown.get('kernels', {}),
    }
    self.test_fetches = graph.shown if graph.test_stream is not None else {}

  def write(
    self, writer: EventWriter, step: int, from_step: dict[str, Any], from_test: dict[str, Any]
  ) -> None:
    """Writes the summaries of a step.

    Args:
      writer: takes them.
      step: the number of updates done.
      from_step: the values of `step_fetches`.
      from_test: the values of `test_fetches`.
    """
    writer.add_summary(from_step['gradients'], step)
    if not from_test:
      return
    record = episode_pictures.Record(**from_test)
    before: dict[str, np.ndarray] = from_step['kernels']
    changes = episode_pictures.kernel_changes(record, before, TEST_EPISODE)
    writer.add_summary(tensorboard.scalar_summary(changes), step)
    pictures = episode_pictures.pictures(record, before, TEST_EPISODE)
    writer.add_summary(tensorboard.image_summary(pictures), step)
