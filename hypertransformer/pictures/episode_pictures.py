"""All pictures of an episode, by the tags under which TensorBoard shows them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from hypertransformer.pictures import attention_map, confusion, episode_grid, heat_map, kernels


@dataclasses.dataclass(frozen=True)
class Record:
  """What a model did with an episode.

  Attributes:
    support_images: [Ns, H, W, C], uint8, or float from -1 to 1.
    support_labels: int [Ns], from 0; a number that is no query label stands for a hidden one.
    query_images: [Nq, H, W, C].
    query_labels: int [Nq].
    predicted: int [Nq], what the model says of the query images.
    num_classes: how many classes there are to choose from.
    kernels: the generated kernel of each layer, by its name: see kernels.draw.
    attention: the attention of each layer's generator, by its name: see attention_map.draw.
    accuracies: of a sequence of tasks, [tasks learned, task asked]: see heat_map.draw.
  """

  support_images: np.ndarray
  support_labels: np.ndarray
  query_images: np.ndarray
  query_labels: np.ndarray
  predicted: np.ndarray
  num_classes: int
  kernels: Mapping[str, np.ndarray]
  attention: Mapping[str, Sequence[np.ndarray]]
  accuracies: np.ndarray | None = None


def draw(
  record: Record, kernels_before: Mapping[str, np.ndarray], name: str
) -> dict[str, np.ndarray]:
  """Draws all pictures of an episode.

  Args:
    record: the episode.
    kernels_before: the kernels of another episode, made by the same model; their differences are
      drawn. Empty if there is no other episode.
    name: what the episode is called in tags, such as 'val'.

  Returns:
    Pictures, uint8 [height, width, 3], by tag.
  """
  title = name.replace('_', ' ')
  table = confusion.counts(record.query_labels, record.predicted, int(record.num_classes))
  pictures = {
    f'episode/{name}': episode_grid.draw(
      record.support_images,
      record.support_labels,
      record.query_images,
      record.query_labels,
      record.predicted,
      title,
    ),
    f'confusion/{name}': confusion.draw(table, title),
  }
  for layer, kernel in record.kernels.items():
    pictures[f'kernels/{name}/{layer}'] = kernels.draw(
      kernel, kernels_before.get(layer), f'{layer}: kernels'
    )
  for layer, attention in record.attention.items():
    pictures[f'attention/{name}/{layer}'] = attention_map.draw(
      attention, record.support_labels, f'{layer}: attention'
    )
  if record.accuracies is not None:
    pictures[f'accuracy_matrix/{name}'] = heat_map.titled(record.accuracies, title)
  return pictures


def changes(
  record: Record, kernels_before: Mapping[str, np.ndarray], name: str
) -> dict[str, float]:
  """Measures how much the kernels differ from those of another episode, by tag."""
  return {
    f'kernel_change/{name}/{layer}': kernels.relative_change(kernel, kernels_before[layer])
    for layer, kernel in record.kernels.items()
    if layer in kernels_before
  }
