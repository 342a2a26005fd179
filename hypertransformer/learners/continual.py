"""The Continual HyperTransformer as a classifier.

Tasks are learned one after the other, and their images are not kept.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import zipfile
import zlib
from collections.abc import Hashable
from typing import Any

import numpy as np

from hypertransformer.data import files
from hypertransformer.errors import InputError
from hypertransformer.learners import inputs
from hypertransformer.learners.engine import Blocks, Trained
from hypertransformer.learners.learner import Learner

VERSION = 1
BLOCKS = 'blocks/'
# What NumPy can raise for a file that is not an .npz file, was cut off, or holds something else.
READ_ERRORS = (
  OSError,
  ValueError,
  KeyError,
  TypeError,
  EOFError,
  zipfile.BadZipFile,
  zlib.error,
  RuntimeError,  # and NotImplementedError: an archive with a password, or packed in another way
  MemoryError,  # a header that claims a huge array
  OverflowError,
)


@dataclasses.dataclass(frozen=True)
class Memory:
  """What a continual learner remembers of the tasks learned so far.

  Attributes:
    blocks: the weight blocks after the last task.
    prototypes: those of each task (in mini_batch: of each piece), [K, outputs].
    classes: the K labels of each task as the caller has given them, in the model's order.
  """

  blocks: Blocks
  prototypes: tuple[np.ndarray, ...] = ()
  classes: tuple[list[Hashable], ...] = ()


def write_memory(memory: Memory, path: pathlib.Path, fingerprint: str) -> None:
  """Writes a memory to an .npz file without pickles, as a whole or not at all.

  Args:
    memory: must be of one task at least.
    path: the file.
    fingerprint: tells which model has learned it; see Engine.fingerprint.

  Raises:
    InputError: a label is of a type that cannot be saved, or the file cannot be written.
  """
  for label in (label for task in memory.classes for label in task):
    if type(label) not in inputs.SIMPLE:
      raise InputError(
        f'label {label!r} cannot be saved: only whole numbers, text, floating numbers and truth '
        'values can. Learn with such labels.'
      )
  text = json.dumps({'version': VERSION, 'fingerprint': fingerprint, 'classes': memory.classes})
  arrays = {f'{BLOCKS}{name}': block for name, block in memory.blocks.items()}
  with files.atomic_file(path) as file:
    np.savez(
      file,
      allow_pickle=False,
      about=np.array(text),
      prototypes=np.stack(memory.prototypes),
      **arrays,
    )


def read_memory(
  path: pathlib.Path, fingerprint: str, like: Memory, prototype_shape: tuple[int, int]
) -> Memory:
  """Reads a memory from a file that `write_memory` has written.

  Args:
    path: the file.
    fingerprint: that of the model which is to go on; the memory must be of the same model.
    like: a memory of this model. The blocks that are read must have the shapes of its blocks.
    prototype_shape: K and the number of outputs, the shape of the prototypes of a task.

  Raises:
    InputError: the file is missing or damaged, or of another model or version.
  """
  if not files.exists(path):
    raise InputError(f'there is no file {path}: give the path that was given to save().')
  files.refuse_page_or_empty(path, 'a file of ContinualLearner.save()')
  try:
    with np.load(path, allow_pickle=False) as file:
      about = json.loads(str(file['about']))
      blocks = {
        name.removeprefix(BLOCKS): file[name] for name in file.files if name.startswith(BLOCKS)
      }
      memory = Memory(blocks, tuple(file['prototypes']), tuple(about['classes']))
      version, of = about['version'], about['fingerprint']
  except READ_ERRORS as error:
    raise InputError(
      f'{path} was not written by ContinualLearner.save(), or is damaged: '
      f'{str(error).splitlines()[0] if str(error) else type(error).__name__}.'
    ) from error
  if version != VERSION:
    raise InputError(
      f'{path} is of version {version}; this package reads version {VERSION}: learn the tasks anew.'
    )
  if of != fingerprint:
    raise InputError(
      f'{path} was saved by a learner of another checkpoint or of other settings: open the '
      'checkpoint that it was saved with, or learn the tasks anew.'
    )
  if not _shaped_like(memory, like, prototype_shape):
    raise InputError(
      f'{path} is damaged: its arrays are not those of its model. Learn the tasks anew.'
    )
  return memory


def _shaped_like(memory: Memory, like: Memory, prototype_shape: tuple[int, int]) -> bool:
  """Whether all arrays and lists of a memory are such as `read_memory` expects them."""
  arrays = [*memory.blocks.values(), *memory.prototypes]
  return (
    {name: block.shape for name, block in memory.blocks.items()}
    == {name: block.shape for name, block in like.blocks.items()}
    and all(array.dtype == np.float32 and np.isfinite(array).all() for array in arrays)
    and 0 < len(memory.classes) == len(memory.prototypes)
    and all(len(classes) == prototype_shape[0] for classes in memory.classes)
    and all(one.shape == prototype_shape for one in memory.prototypes)
  )


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
    write_memory(self._memory, files.expanded(path), self._engine.fingerprint())

  def load(self, path: str | os.PathLike[str]) -> None:
    """Reads what a learner of the same checkpoint has saved, to go on from there.

    It takes the place of all that was learned so far.

    Args:
      path: a file that `save` has written.

    Raises:
      InputError: the file cannot be used. The learner then keeps what it had learned.
    """
    model = self._trained.model
    self._memory = read_memory(
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
