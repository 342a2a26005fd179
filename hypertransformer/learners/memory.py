"""What a continual learner remembers, and the file that it can be saved to."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import zipfile
import zlib
from collections.abc import Hashable

import numpy as np

from hypertransformer.data import files
from hypertransformer.errors import InputError
from hypertransformer.learners import inputs
from hypertransformer.learners.engine import Blocks

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


def write(memory: Memory, path: pathlib.Path, fingerprint: str) -> None:
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


def read(
  path: pathlib.Path, fingerprint: str, like: Memory, prototype_shape: tuple[int, int]
) -> Memory:
  """Reads a memory from a file that `write` has written.

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
  """Whether all arrays and lists of a memory are such as `read` expects them."""
  arrays = [*memory.blocks.values(), *memory.prototypes]
  return (
    {name: block.shape for name, block in memory.blocks.items()}
    == {name: block.shape for name, block in like.blocks.items()}
    and all(array.dtype == np.float32 and np.isfinite(array).all() for array in arrays)
    and 0 < len(memory.classes) == len(memory.prototypes)
    and all(len(classes) == prototype_shape[0] for classes in memory.classes)
    and all(one.shape == prototype_shape for one in memory.prototypes)
  )
