"""The Continual HyperTransformer as a classifier.

Tasks are learned one after the other, and their images are not kept.
"""

from __future__ import annotations

import os
from collections.abc import Hashable
from typing import Any

import numpy as np

from hypertransformer.data import files
from hypertransformer.errors import InputError
from hypertransformer.learners import inputs
from hypertransformer.learners import memory as memory_lib
from hypertransformer.learners.learner import Learner
from hypertransformer.learners.memory import Memory
from hypertransformer.learners.trained import Trained


class ContinualLearner(Learner):
  """A Continual HyperTransformer (arXiv 2301.04584), which learns one task after the other.

  Its model must have been trained with `--continual_scenario`. It remembers the weights of its CNN,
  and a prototype for each class of each task; images are not kept. It can learn any number of
  tasks. Images are as for `FewShotLearner`, and what is said there of batch norm holds here too.

  Its scenario is the one that it was trained in:

  - `task_incremental`: `predict` is told the task. Labels may come again in other tasks.
  - `class_incremental`: `predict` chooses among the classes of all tasks so far. Each class belongs
    to one task.
  - `mini_batch`: `learn` gets one piece of a support set after the other, each with all K classes.
  """

  def __init__(self, checkpoint: str | os.PathLike[str]) -> None:
    """Opens a checkpoint; no task is learned yet.

    Args:
      checkpoint: its path without `.index`, such as `logs/model-20000`; or its folder, for the
        newest checkpoint in it. The file `flags.json` of the training must be beside it.

    Raises:
      InputError: the checkpoint cannot be read or used.
    """
    super().__init__(checkpoint)
    assert self._trained.continual is not None
    self._config = self._trained.continual
    self._memory = Memory(self._engine.no_blocks())

  @property
  def scenario(self) -> str:
    """The scenario: task_incremental, class_incremental or mini_batch."""
    return self._config.scenario

  @property
  def num_tasks(self) -> int:
    """How many tasks (in mini_batch: pieces) have been learned so far."""
    return len(self._memory.prototypes)

  def learn(self, images: Any, labels: Any) -> None:
    """Learns one task from its support set.

    The CNN gets new weights, which are made from the old ones and the support set, and each of the
    K classes of the task gets a prototype.

    Args:
      images: the support images of the task.
      labels: a label for each image; see `FewShotLearner.fit`.

    Raises:
      InputError: images or labels cannot be used. Nothing is learned then.
    """
    support = self._support(images)
    found = inputs.labels(labels, len(support))
    classes = self._classes(inputs.classes(found, self.num_labels))
    before = self._memory
    learned = self._engine.learn(support, inputs.numbers(found, classes), before.blocks)
    self._memory = Memory(
      learned.blocks, (*before.prototypes, learned.means), (*before.classes, classes)
    )

  def predict(self, images: Any, task: int | None = None) -> np.ndarray:
    """Predicts the label of each image.

    The images together are one query batch; see `FewShotLearner` for what this means.

    Args:
      images: the query images.
      task: in task_incremental the number of their task, counted from 0; otherwise None.

    Returns:
      Labels as they were given to `learn`, [n].

    Raises:
      InputError: images or task cannot be used, or nothing is learned yet.
    """
    return self.labels(task)[self.scores(images, task).argmax(axis=1)]

  def scores(self, images: Any, task: int | None = None) -> np.ndarray:
    """Computes a score of each image for each class, as one query batch.

    A score is minus the squared distance of the CNN's output to the prototype of the class. If the
    model was trained with `--continual_loss=cross_entropy`, it is a logit.

    Args:
      images: the query images.
      task: see `predict`.

    Returns:
      Scores, float32 [n, number of classes], with the columns in the order of `labels(task)`.

    Raises:
      InputError: images or task cannot be used, or nothing is learned yet.
    """
    known = self._known(task)
    query = self._queries(images)
    if not self._config.prototypical:
      return self._engine.outputs(query, self._memory.blocks)
    return self._engine.scores(query, self._memory.blocks, known)

  def labels(self, task: int | None = None) -> np.ndarray:
    """The labels that can be predicted, in the order of the columns of `scores`.

    Args:
      task: see `predict`.

    Returns:
      Labels as they were given to `learn`, [number of classes].

    Raises:
      InputError: the task cannot be used, or nothing is learned yet.
    """
    self._require_task(task)
    classes = self._memory.classes
    if self.scenario == 'class_incremental':
      return inputs.as_array([label for one in classes for label in one])
    return inputs.as_array(classes[-1 if task is None else task])

  def weights(self) -> dict[str, np.ndarray]:
    """The variables of the CNN as it uses them now, generated or trained.

    Returns:
      Arrays by name, such as 'layer_1/conv/kernel'.

    Raises:
      InputError: nothing is learned yet.
    """
    self._require_learned()
    return self._engine.weights(self._memory.blocks)

  def prototypes(self) -> np.ndarray:
    """The prototypes of each task (in mini_batch: piece), as they were made when it was learned.

    Returns:
      float32 [tasks learned so far, K, outputs of the CNN].

    Raises:
      InputError: nothing is learned yet, or the model has no prototypes, because it was trained
        with `--continual_loss=cross_entropy`.
    """
    self._require_learned()
    if not self._config.prototypical:
      raise InputError('a model trained with continual_loss=cross_entropy has no prototypes.')
    return np.stack(self._memory.prototypes)

  def save(self, path: str | os.PathLike[str]) -> None:
    """Writes what was learned to an .npz file; the model itself is not in it.

    The file is written as a whole or not at all.

    Args:
      path: the file.

    Raises:
      InputError: the file cannot be written, a label is of a type that cannot be saved, or nothing
        is learned yet.
    """
    self._require_learned()
    memory_lib.write(self._memory, files.expanded(path), self._engine.fingerprint())

  def load(self, path: str | os.PathLike[str]) -> None:
    """Reads what a learner of the same checkpoint has saved, to go on from there.

    It takes the place of all that was learned so far.

    Args:
      path: a file that `save` has written.

    Raises:
      InputError: the file cannot be used. The learner then keeps what it had learned.
    """
    model = self._trained.model
    self._memory = memory_lib.read(
      files.expanded(path),
      self._engine.fingerprint(),
      self._memory,
      (model.num_labels, model.embedding_units or model.num_labels),
    )

  def _classes(self, classes: list[Hashable]) -> list[Hashable]:
    """The classes of a new task, in the order in which the model is to number them.

    Raises InputError if they do not go together with those of the earlier tasks.
    """
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
    """The prototypes [classes, outputs] that images are compared with."""
    self._require_task(task)
    kept = self._memory.prototypes
    if task is not None:
      return kept[task]
    return np.concatenate(kept) if self.scenario == 'class_incremental' else np.mean(kept, axis=0)

  def _require_learned(self) -> None:
    """Raises InputError if nothing is learned yet."""
    if not self.num_tasks:
      raise InputError('nothing is learned yet: call learn(images, labels), or load(path), first.')

  def _require_task(self, task: int | None) -> None:
    """Raises InputError if the scenario needs another `task`, or nothing is learned yet."""
    self._require_learned()
    needed = self.scenario == 'task_incremental'
    if needed and task is None:
      raise InputError(
        'task is not given: with continual_scenario=task_incremental say of which task the images '
        f'are, 0..{self.num_tasks - 1}.'
      )
    if not needed and task is not None:
      raise InputError(
        f'task is {task!r}, but with continual_scenario={self.scenario} the task of an image is '
        'not known: leave it out.'
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
        f'checkpoint {found.prefix} is of continual_method=merged_hypertransformer, which needs '
        'the images of all tasks at once and so cannot learn one after the other: use one of '
        'continual_hypertransformer or constant_protonet.'
      )
