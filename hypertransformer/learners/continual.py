"""The Continual HyperTransformer as a classifier.

Tasks are learned one after the other, and their images are not kept.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from hypertransformer.errors import InputError, require
from hypertransformer.learners import inputs
from hypertransformer.learners.engine import BlockArrays, Trained
from hypertransformer.learners.learner import Learner, NothingLearnedError


@dataclasses.dataclass(frozen=True)
class LearnedTasks:
  """The state after some tasks, which never changes.

  Attributes:
    blocks: The weight blocks after the last task.
    prototypes: Those of each task (in mini_batch: of each piece), [tasks, K, outputs].
    statistics: The batch-norm statistics of each support set, with the weights right after it,
      [tasks, convolutions, 2, channels].
    classes: The K labels of each task as the caller passed them, in the model's order.
  """

  blocks: BlockArrays
  prototypes: np.ndarray
  statistics: np.ndarray
  classes: tuple[list[Hashable], ...] = ()


class ContinualLearner(Learner):
  """A Continual HyperTransformer (arXiv 2301.04584), which learns one task after the other.

  Its model must have been trained with `--continual_scenario`. It remembers the weights of its CNN,
  and a prototype for each class and batch-norm statistics of each task; images are not kept. It can
  learn any number of tasks. Images are as for `FewShotLearner`, and so is what is said of batch
  norm, but for its statistics: in task_incremental they are those of the support set of the task,
  and otherwise the average over all support sets so far. Threads can share a learner.

  Its scenario is the one that it was trained in:

  - `task_incremental`: `predict` requires the task. Labels may recur in other tasks.
  - `class_incremental`: `predict` chooses among the classes of all tasks so far. Each class belongs
    to one task.
  - `mini_batch`: `learn` gets one piece of a support set after the other, each with all K classes.
  """

  def _forget(self) -> None:
    model, config = self._trained.settings.model, self._trained.settings.continual
    assert config is not None
    self._config = config
    shape = 0, model.num_labels, model.embedding_units or model.num_labels
    engine = self._engine
    self._learned = LearnedTasks(
      engine.no_blocks(), np.zeros(shape, np.float32), engine.no_statistics
    )

  @property
  def scenario(self) -> str:
    """The scenario: task_incremental, class_incremental or mini_batch."""
    return self._config.scenario

  @property
  def num_tasks(self) -> int:
    """The number of tasks (in mini_batch: pieces) learned so far."""
    return len(self._learned.classes)

  def learn(self, images: Any, labels: Any) -> None:
    """Learn one task from its support set.

    The CNN gets new weights, which are generated from the old ones and the support set, and each of
    the K classes of the task gets a prototype.

    Args:
      images: The support images of the task.
      labels: A label for each image; see `FewShotLearner.fit`.

    Raises:
      InputError: Images or labels cannot be used. Nothing is learned then.
    """
    support = self._support(images)
    found = inputs.labels(labels, len(support))
    own = inputs.classes(found, self.num_labels, self.num_labels)
    with self._lock:
      before = self._learned
      classes = self._classes(before, own)
      learned = self._engine.learn(support, inputs.numbers(found, classes), before.blocks)
      self._learned = LearnedTasks(
        learned.blocks,
        np.concatenate([before.prototypes, learned.prototypes[None]]),
        np.concatenate([before.statistics, learned.statistics[None]]),
        (*before.classes, classes),
      )

  def predict(self, images: Any, task: int | None = None) -> np.ndarray:
    """Predict the label of each image.

    Args:
      images: The query images.
      task: In task_incremental the number of their task, counted from 0; otherwise None.

    Returns:
      Labels as they were passed to `learn`, [n].

    Raises:
      InputError: Images or task cannot be used, or nothing has been learned yet.
    """
    learned = self._state(task)
    scores = self._scores(learned, images, task)
    return self._labels(learned, task)[scores.argmax(axis=1)]

  def scores(self, images: Any, task: int | None = None) -> np.ndarray:
    """Compute a score of each image for each class.

    A score is minus the squared distance of the CNN's output to the prototype of the class. If the
    model was trained with `--continual_loss=cross_entropy`, it is a logit.

    Args:
      images: The query images.
      task: See `predict`.

    Returns:
      Scores, float32 [n, number of classes], with the columns in the order of `labels(task)`.

    Raises:
      InputError: Images or task cannot be used, or nothing has been learned yet.
    """
    return self._scores(self._state(task), images, task)

  def labels(self, task: int | None = None) -> np.ndarray:
    """Return the labels that can be predicted, in the order of the columns of `scores`.

    Args:
      task: See `predict`.

    Returns:
      Labels as they were passed to `learn`, [number of classes].

    Raises:
      InputError: The task cannot be used, or nothing has been learned yet.
    """
    return self._labels(self._state(task), task)

  def weights(self) -> dict[str, np.ndarray]:
    """Return the variables of the CNN as it uses them now, generated or trained.

    Returns:
      Arrays by name, such as 'layer_1/conv/kernel'.

    Raises:
      InputError: Nothing has been learned yet.
    """
    return self._engine.weights(self._some().blocks)

  def prototypes(self) -> np.ndarray:
    """Return the prototypes of each task (in mini_batch: piece), as made when it was learned.

    Returns:
      float32 [tasks learned so far, K, outputs of the CNN].

    Raises:
      InputError: Nothing has been learned yet, or the model has no prototypes, because it was
        trained with `--continual_loss=cross_entropy`.
    """
    require(
      self._config.prototypical,
      'A model trained with continual_loss=cross_entropy has no prototypes. Use scores().',
    )
    return self._some().prototypes.copy()

  def export(self, path: str | os.PathLike[str], task: int | None = None) -> pathlib.Path:
    """Write the CNN and its prototypes to a file that needs neither this package nor TensorFlow.

    Args:
      path: As for `FewShotLearner.export`.
      task: See `predict`.

    Returns:
      The path.

    Raises:
      InputError: As for `predict` and `FewShotLearner.export`.
    """
    learned = self._state(task)
    statistics, prototypes = self._used(learned, task)
    labels = self._labels(learned, task)
    return self._export(
      self._engine.frozen(learned.blocks, statistics, labels, prototypes=prototypes), path
    )

  def _saved(self) -> tuple[Sequence[Sequence[Hashable]], dict[str, np.ndarray]]:
    learned = self._some()
    arrays = {'prototypes': learned.prototypes, 'statistics': learned.statistics, **learned.blocks}
    return learned.classes, arrays

  def load(self, path: str | os.PathLike[str]) -> None:
    """Read what a learner of the same checkpoint has saved, to continue from there.

    It replaces everything learned so far.

    Args:
      path: A file that `save` has written.

    Raises:
      InputError: The file cannot be used. The learner then keeps what it had learned.
    """
    classes, blocks = self._load(path)
    prototypes, statistics = (
      blocks.pop(name, np.zeros(0)) for name in ('prototypes', 'statistics')
    )
    learned = LearnedTasks(blocks, prototypes, statistics, classes)
    require(
      self._fits(learned), f'{path} is malformed. Pass a file that save() of a learner has written.'
    )
    self._learned = learned

  def _fits(self, learned: LearnedTasks) -> bool:
    """Return whether the arrays have the shapes and types of this model's."""
    found, own = (
      [(name, block.shape, block.dtype) for name, block in sorted(tasks.blocks.items())]
      + [(each.shape[1:], each.dtype) for each in (tasks.prototypes, tasks.statistics)]
      for tasks in (learned, self._learned)
    )
    counts = {len(each) for each in (learned.classes, learned.prototypes, learned.statistics)}
    return found == own and len(counts) == 1 and counts != {0}

  def _classes(self, before: LearnedTasks, classes: list[Hashable]) -> list[Hashable]:
    """Return the classes of a new task, in the order in which the model is to number them.

    Raises InputError if the scenario does not allow them after the earlier tasks.
    """
    earlier = {label for task in before.classes for label in task}
    if self.scenario == 'class_incremental':
      again = [label for label in classes if label in earlier]
      require(
        not again,
        f'Label {again and again[0]!r} belongs to an earlier task. With '
        'continual_scenario=class_incremental, each class belongs to one task.',
      )
    if self.scenario == 'mini_batch' and earlier:
      require(
        earlier == set(classes),
        f'The classes {classes} differ from those of the first piece, {before.classes[0]}. With '
        'continual_scenario=mini_batch, every piece has the same classes.',
      )
      return before.classes[0]
    return classes

  def _some(self) -> LearnedTasks:
    """Return what was learned; raise InputError before the first task."""
    learned = self._learned
    if not learned.classes:
      raise NothingLearnedError('Nothing has been learned yet. Call learn(images, labels) first.')
    return learned

  def _state(self, task: int | None) -> LearnedTasks:
    """Return what was learned; raise InputError if this `task` cannot be used with it."""
    learned = self._some()
    needed = self.scenario == 'task_incremental'
    whole = isinstance(task, int | np.integer) and not isinstance(task, bool)
    require(
      (whole and 0 <= task < len(learned.classes)) if needed else task is None,  # type: ignore[operator]
      f'task={task!r} is invalid with continual_scenario={self.scenario}. '
      + (f'Pass the number of a task, 0..{len(learned.classes) - 1}.' if needed else 'Omit it.'),
    )
    return learned

  def _labels(self, learned: LearnedTasks, task: int | None) -> np.ndarray:
    if self.scenario == 'class_incremental':
      return inputs.as_array([label for one in learned.classes for label in one])
    return inputs.as_array(learned.classes[-1 if task is None else task])

  def _scores(self, learned: LearnedTasks, images: Any, task: int | None) -> np.ndarray:
    queries = self._queries(images)
    statistics, prototypes = self._used(learned, task)
    if prototypes is None:
      return self._engine.outputs(queries, learned.blocks, statistics)
    return self._engine.scores(queries, learned.blocks, statistics, prototypes)

  def _used(self, learned: LearnedTasks, task: int | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the statistics and the prototypes, if there are any, with which queries are asked."""
    statistics, prototypes = learned.statistics, learned.prototypes
    if task is not None:
      statistics = statistics[task : task + 1]
    if not self._config.prototypical:
      return statistics, None
    if self.scenario == 'mini_batch':
      return statistics, prototypes.mean(axis=0)
    return statistics, np.concatenate(prototypes) if task is None else prototypes[task]

  def _require_kind(self, found: Trained) -> None:
    config = found.settings.continual
    if config is None:
      raise InputError(
        f'Checkpoint {found.prefix} was trained without continual_scenario. Open it with '
        'FewShotLearner.'
      )
    require(
      config.method != 'merged_hypertransformer',
      f'Checkpoint {found.prefix} was trained with continual_method=merged_hypertransformer, which '
      'requires the images of all tasks at once. Use continual_hypertransformer or '
      'constant_protonet.',
    )
