"""The Continual HyperTransformer as a classifier: tasks come one after the other, their images are
not kept.
"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Hashable
from typing import Any

import numpy as np

from hypertransformer.errors import InputError
from hypertransformer.learners import inputs
from hypertransformer.learners import memory as memory_lib
from hypertransformer.learners.learner import Learner
from hypertransformer.learners.memory import Memory
from hypertransformer.learners.trained import Trained


class ContinualLearner(Learner):
  """ContinualLearner(checkpoint): a model trained with --continual_scenario (arXiv 2301.04584)
  learns task after task.

  checkpoint and images: as for FewShotLearner, with the same note on batch norm. What it remembers
  are the weights of its CNN and one prototype per class and task; images are not kept. Any number
  of tasks can be learned. Its scenario is the one it was trained in:
    task_incremental: predict() is told the task; labels may come again in other tasks.
    class_incremental: predict() chooses among the classes of all tasks so far; each class belongs
      to one task.
    mini_batch: learn() gets one piece of a support set after the other, each with all K classes.
  """

  def __init__(self, checkpoint: str | os.PathLike[str]) -> None:
    """Raises InputError."""
    super().__init__(checkpoint)
    assert self._trained.continual is not None
    self._config = self._trained.continual
    self._memory = Memory(self._engine.no_blocks())

  @property
  def scenario(self) -> str:
    """task_incremental, class_incremental or mini_batch."""
    return self._config.scenario

  @property
  def num_tasks(self) -> int:
    """Tasks (mini_batch: pieces) learned so far."""
    return len(self._memory.prototypes)

  def learn(self, images: Any, labels: Any) -> None:
    """Learns one task from its support set: new weights from the old ones, and prototypes of its K
    classes.

    labels: see FewShotLearner.fit. Raises InputError, and then has learned nothing.
    """
    support = self._pixels(images, 'support images')
    found = inputs.labels(labels, len(support))
    classes = self._classes(inputs.classes(found, self.num_labels))
    before = self._memory
    learned = self._engine.learn(support, inputs.numbers(found, classes), before.blocks)
    self._memory = Memory(
      learned.blocks, (*before.prototypes, learned.means), (*before.classes, classes)
    )

  def predict(self, images: Any, task: int | None = None) -> np.ndarray:
    """The label of each image [n], in the terms of `learn`; the images together are one batch (see
    FewShotLearner).

    task: in task_incremental the number of the images' task, from 0; otherwise None.
    """
    return self.labels(task)[self.scores(images, task).argmax(axis=1)]

  def scores(self, images: Any, task: int | None = None) -> np.ndarray:
    """float32 [n, C]: minus the squared distance to each prototype (with
    continual_loss=cross_entropy: logits); columns as in `labels(task)`.
    """
    known = self._known(task)
    query = self._pixels(images, 'query images')
    if not self._config.prototypical:
      return self._engine.outputs(query, self._memory.blocks)
    return self._engine.scores(query, self._memory.blocks, known)

  def labels(self, task: int | None = None) -> np.ndarray:
    """[C]: what can be predicted, in the order of the columns of `scores`."""
    self._require_task(task)
    classes = self._memory.classes
    if self.scenario == 'class_incremental':
      return inputs.as_array([label for one in classes for label in one])
    return inputs.as_array(classes[-1 if task is None else task])

  def weights(self) -> dict[str, np.ndarray]:
    """The CNN's variables as it uses them now, {'layer_1/conv/kernel': array, ...}."""
    self._require_learned()
    return self._engine.weights(self._memory.blocks)

  def prototypes(self) -> np.ndarray:
    """float32 [T, K, units]: those of each task (mini_batch: piece), as they were made when it was
    learned.
    """
    self._require_learned()
    if not self._config.prototypical:
      raise InputError('a model trained with continual_loss=cross_entropy has no prototypes.')
    return np.stack(self._memory.prototypes)

  def save(self, path: str | os.PathLike[str]) -> None:
    """Writes what was learned (not the model) to one .npz file, in whole or not at all. Raises
    InputError.
    """
    self._require_learned()
    memory_lib.write(self._memory, pathlib.Path(path), self._engine.fingerprint())

  def load(self, path: str | os.PathLike[str]) -> None:
    """Goes on from what another learner of the same checkpoint saved, in place of what was learned
    so far.

    Raises InputError, and then keeps what it has.
    """
    model = self._trained.model
    self._memory = memory_lib.read(
      pathlib.Path(path),
      self._engine.fingerprint(),
      self._memory,
      (model.num_labels, model.embedding_units or model.num_labels),
    )

  def _classes(self, classes: list[Hashable]) -> list[Hashable]:
    """The classes of a new task as the model is to number them, after a look at the earlier tasks."""
    earlier = {label: number for number, task in enumerate(self._memory.classes) for label in task}
    again = [label for label in classes if label in earlier]
    if self.scenario == 'class_incremental' and again:
      raise InputError(
        f'label {again[0]!r} was learned in task {earlier[again[0]]} already: with '
        'continual_scenario=class_incremental each class belongs to one task.'
      )
    if self.scenario != 'mini_batch' or not earlier:
      return classes
    if len(again) < len(classes):
      new = next(label for label in classes if label not in earlier)
      first = ', '.join(map(repr, self._memory.classes[0]))
      raise InputError(
        f'label {new!r} is not among the classes of the first piece ({first}): with '
        'continual_scenario=mini_batch every piece has the same classes.'
      )
    return self._memory.classes[0]

  def _known(self, task: int | None) -> np.ndarray:
    """The prototypes [C, units] that images are compared with."""
    self._require_task(task)
    kept = self._memory.prototypes
    if task is not None:
      return kept[task]
    return np.concatenate(kept) if self.scenario == 'class_incremental' else np.mean(kept, axis=0)

  def _require_learned(self) -> None:
    if not self.num_tasks:
      raise InputError('nothing is learned yet: call learn(images, labels), or load(path), first.')

  def _require_task(self, task: int | None) -> None:
    self._require_learned()
    needed = self.scenario == 'task_incremental'
    if needed and task is None:
      raise InputError(
        f'task is not given: with continual_scenario=task_incremental say of which task the images are, '
        f'0..{self.num_tasks - 1}.'
      )
    if not needed and task is not None:
      raise InputError(
        f'task is {task!r}, but with continual_scenario={self.scenario} the task of an image is not '
        'known: leave it out.'
      )
    whole = isinstance(task, int | np.integer) and not isinstance(task, bool)
    if needed and not (whole and 0 <= task < self.num_tasks):  # type: ignore[operator]
      raise InputError(f'task is {task!r}; tasks 0..{self.num_tasks - 1} are learned so far.')

  def _require_kind(self, found: Trained) -> None:
    if found.continual is None:
      raise InputError(
        f'checkpoint {found.prefix} was trained without --continual_scenario: open it by '
        'FewShotLearner.'
      )
    if found.continual.method == 'merged_hypertransformer':
      raise InputError(
        f'checkpoint {found.prefix} is of continual_method=merged_hypertransformer, which needs the '
        'images of all tasks at once and so cannot learn one after the other: use one of '
        'continual_hypertransformer or constant_protonet.'
      )
