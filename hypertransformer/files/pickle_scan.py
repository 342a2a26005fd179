"""Looks through pickles of strangers for anything that would fill the memory or crash Python.

A few bytes of a pickle are enough to

- claim an item of 2^60 bytes;
- let the memo, the unpickler's table of objects that are used again, grow to many GB;
- nest tuples until Python overruns its stack;
- put a list into another again and again, until a copy of the whole would fill any memory.

A pickle is a program: a sequence of opcodes, each with an argument, that work on a stack. `scan`
walks over the opcodes without carrying them out and needs little memory. `check` refuses what it
finds to be dangerous on such a walk. `Budget` limits what calls make while a pickle is read, and
`weigh` looks at the result before it is used.
"""

from __future__ import annotations

import os
import pickle
import pickletools
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np

# Honest files stay far below these limits. The largest known ones have some ten million opcodes, a
# few hundred lists and dicts, and tuples nested three deep.
_MAX_OPCODES = 1 << 24
_MAX_CONTAINERS = 1 << 20
_MAX_TUPLE_DEPTH = 100
_REFERENCE_BYTES = 8
_CHUNK_BYTES = 1 << 16
# The bytes of an opcode and of the longest argument of fixed size, or count of bytes, after it.
_LONGEST_HEAD = 9

_MARK = -1  # stands for a mark on the stack, where otherwise there are depths
_CONTAINERS = {'EMPTY_LIST', 'EMPTY_DICT', 'EMPTY_SET', 'LIST', 'DICT', 'FROZENSET'}
_PUTS = {'PUT', 'BINPUT', 'LONG_BINPUT'}
_GETS = {'GET', 'BINGET', 'LONG_BINGET'}
_TUPLES = {'TUPLE', 'TUPLE1', 'TUPLE2', 'TUPLE3'}
_COUNT_BYTES = {
  pickletools.TAKEN_FROM_ARGUMENT1: 1,
  pickletools.TAKEN_FROM_ARGUMENT4: 4,
  pickletools.TAKEN_FROM_ARGUMENT4U: 4,
  pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}


class RefusedError(pickle.UnpicklingError):
  """A pickle holds something that is not admitted."""


class Item(NamedTuple):
  """One opcode of a pickle.

  Attributes:
    name: the name of the opcode, as in the module pickletools.
    start: the position of its argument in the file.
    length: the length of its argument in bytes.
    place: the place in the memo that it names, if it puts an object there or gets one; of the
      opcode FRAME, the bytes that it says follow; otherwise 0.
  """

  name: str
  start: int
  length: int
  place: int


class _Opcode(NamedTuple):
  """The form of an opcode's argument, and what the opcode does to the stack.

  Attributes:
    name: the name of the opcode.
    fixed: the bytes of an argument of fixed size, otherwise 0.
    prefix: the bytes of the count that comes before an argument of any size; 0 if there is none.
    lines: the number of lines of an argument that is text, otherwise 0.
    has_place: whether the argument is a place in the memo.
    pops: how many objects are taken from the stack, not counting those of `to_mark`.
    to_mark: whether first all objects down to the last mark are taken off, and the mark.
    pushes: what is put on the stack: _MARK for a mark, 0 for any object.
  """

  name: str
  fixed: int
  prefix: int
  lines: int
  has_place: bool
  pops: int
  to_mark: bool
  pushes: list[int]


def _opcode(info: pickletools.OpcodeInfo) -> _Opcode:
  """Takes what is needed from the description of an opcode in Python's own module."""
  n = info.arg.n if info.arg else 0
  to_mark = pickletools.markobject in info.stack_before
  return _Opcode(
    info.name,
    max(n, 0),
    _COUNT_BYTES.get(n, 0),
    (2 if info.name in ('GLOBAL', 'INST') else 1) if n == pickletools.UP_TO_NEWLINE else 0,
    info.name in _PUTS or info.name in _GETS,
    info.stack_before.index(pickletools.markobject) if to_mark else len(info.stack_before),
    to_mark,
    [_MARK if after is pickletools.markobject else 0 for after in info.stack_after],
  )


_OPCODES = {ord(info.code): _opcode(info) for info in pickletools.opcodes}
_EFFECTS = {opcode.name: opcode for opcode in _OPCODES.values()}


def scan(file: BinaryIO) -> Iterator[Item]:
  """Yields the opcodes of a pickle; none is carried out, and their data are not read.

  Args:
    file: a file that can seek, at the start of the pickle. The caller may move it meanwhile.

  Raises:
    ValueError: this is not a pickle, it ends early, or it claims more data than the file has.
  """
  position = file.tell()
  end = file.seek(0, os.SEEK_END)
  base, chunk = position, b''
  while True:
    at = position - base
    if not 0 <= at < len(chunk) - _LONGEST_HEAD:
      file.seek(position)
      base, chunk, at = position, file.read(_CHUNK_BYTES), 0
      if not chunk:
        raise ValueError('it ends in the middle')
    opcode = _OPCODES.get(chunk[at])
    if opcode is None:
      raise ValueError(f'no opcode {chunk[at : at + 1]!r} exists, byte {position}')
    name, fixed, prefix, lines, has_place, *_ = opcode
    start, length, place = position + 1, fixed, 0
    if prefix:
      length = int.from_bytes(chunk[at + 1 : at + 1 + prefix], 'little')
      start += prefix
    elif lines:
      length, place = _text_lines(file, opcode, start)
    elif has_place or name == 'FRAME':
      place = int.from_bytes(chunk[at + 1 : at + 1 + fixed], 'little')
    position = start + length
    claimed = length + place if name == 'FRAME' else length
    if start + claimed > end:
      raise ValueError(
        f'{name} at byte {start} claims {claimed} bytes, the file has {max(end - start, 0)} more'
      )
    yield Item(name, start, length, place)
    if name == 'STOP':
      return


def _text_lines(file: BinaryIO, opcode: _Opcode, start: int) -> tuple[int, int]:
  """Measures an argument that is text, which begins at `start`.

  Returns:
    Its length in bytes, and the place in the memo that it names, otherwise 0.
  """
  file.seek(start)
  text = [file.readline() for _ in range(opcode.lines)]
  return sum(len(line) for line in text), int(text[0][:20]) if opcode.has_place else 0


def check(file: BinaryIO) -> int:
  """Walks over a whole pickle, and refuses it if it is dangerous to read.

  The walk follows what the opcodes do to the stack, and how deep the tuples on it are nested. The
  depth matters because Python computes the hash of a tuple by a recursion without a limit, which
  can crash it.

  Args:
    file: a file that can seek, at the start of the pickle; afterwards it is there again.

  Returns:
    How many bytes the objects of this pickle may take in all, for `Budget` and `weigh`.

  Raises:
    RefusedError: the pickle has more opcodes than any honest file, it nests tuples too deep, or it
      uses a place in the memo (which grows to that place) beyond the number of its objects.
    ValueError: as `scan`.
    IndexError: an opcode takes more from the stack than there is.
  """
  begin = file.tell()
  stack: list[int] = []  # how deep each tuple is nested; 0 for other objects
  memo: dict[int, int] = {}
  containers = start = 0
  for opcodes, item in enumerate(scan(file), 1):
    name, start, _, place = item
    if name in _GETS:
      stack.append(memo.get(place, 0))
    elif name in _PUTS or name == 'MEMOIZE':
      if place > opcodes:
        raise RefusedError(f'it wants a table of {place} entries for {opcodes} objects')
      memo[len(memo) if name == 'MEMOIZE' else place] = stack[-1]
    elif name == 'DUP':
      stack.append(stack[-1])
    else:
      _apply(name, stack)
      containers += name in _CONTAINERS
    if opcodes > _MAX_OPCODES or containers > _MAX_CONTAINERS:
      raise RefusedError(
        f'it makes more than {_MAX_OPCODES} things or {_MAX_CONTAINERS} lists and dicts'
      )
  file.seek(begin)
  return 4 * (start - begin) + (1 << 27)


def _apply(name: str, stack: list[int]) -> None:
  """Does to the stack of depths what an opcode does to the stack of objects."""
  *_, pops, to_mark, pushes = _EFFECTS[name]
  deepest = 0
  if to_mark:
    while (depth := stack.pop()) != _MARK:
      deepest = max(deepest, depth)
  for _ in range(pops):
    deepest = max(deepest, stack.pop())
  if name not in _TUPLES:
    stack += pushes
  elif deepest < _MAX_TUPLE_DEPTH:
    stack.append(deepest + 1)
  else:
    raise RefusedError(f'it nests tuples more than {_MAX_TUPLE_DEPTH} deep')


class Budget:
  """Limits what a pickle may make by calls: it could give the same long text to call after call."""

  def __init__(self, limit: int) -> None:
    """Begins with `limit` bytes, which all calls have together."""
    self._left = limit

  def charge(self, *given: Any) -> None:
    """Counts the arguments `given` to a call.

    Raises:
      RefusedError: all calls together have been given more than the limit.
    """
    self._left -= 64
    for value in given:
      if isinstance(value, str | bytes | bytearray):
        self._left -= len(value)
      elif isinstance(value, list | tuple):
        self._left -= 64 * len(value)
    if self._left < 0:
      raise RefusedError('it copies its data over and over')


def weigh(value: Any, limit: int) -> None:
  """Checks that data would fit into `limit` bytes even if each reference in it were a copy.

  Args:
    value: plain Python data and NumPy arrays.
    limit: how many bytes it may take.

  Raises:
    RefusedError: it would take more, or something contains itself.
  """
  weights: dict[int, int] = {}  # of the containers that are done, by their id
  path: set[int] = set()
  todo = [value]
  while todo:
    node = todo[-1]
    children = [] if id(node) in weights else _children(node)
    inner = {
      id(child): child for child in children if _is_container(child) and id(child) not in weights
    }
    if inner and id(node) in path:
      raise RefusedError('it holds something that contains itself')
    path.add(id(node))
    if inner:
      todo.extend(inner.values())
      continue
    todo.pop()
    if id(node) not in weights:
      weights[id(node)] = _REFERENCE_BYTES + sum(
        weights[id(child)] if _is_container(child) else _leaf_bytes(child) for child in children
      )
      if weights[id(node)] > limit:
        raise RefusedError('it repeats its contents until they would fill the memory')


def _is_container(value: Any) -> bool:
  """Tells whether `value` holds references to other objects."""
  return isinstance(value, dict | list | tuple | set | frozenset) or (
    isinstance(value, np.ndarray) and value.dtype.hasobject
  )


def _children(value: Any) -> list[Any]:
  """Returns what a container holds; anything else is returned itself, in a list."""
  if not _is_container(value):
    return [value]
  if isinstance(value, dict):
    return [*value.keys(), *value.values()]
  return list(value.flat) if isinstance(value, np.ndarray) else list(value)


def _leaf_bytes(value: Any) -> int:
  """Returns the bytes that something other than a container takes; a range counts as its list."""
  if isinstance(value, np.ndarray):
    return value.nbytes
  if isinstance(value, range):
    return _REFERENCE_BYTES * max(0, -((value.start - value.stop) // value.step))
  return _REFERENCE_BYTES
