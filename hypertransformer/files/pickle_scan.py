"""Looking through pickles of strangers before they are read: nothing in them may eat memory or
crash Python.

A few bytes of a pickle can claim an item of 2^60 bytes, let the unpickler's table grow to many GB,
nest tuples until Python overruns its stack, or name one list in another again and again until a
copy of it would fill any memory. The opcodes are walked here without carrying them out, in little
memory, and what was read is weighed before it is used.
"""

from __future__ import annotations

import os
import pickle
import pickletools
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np

# Honest files stay far below: the largest known ones have some ten million opcodes, a few hundred
# lists and dicts, and tuples in tuples three deep.
_MAX_OPCODES = 1 << 24
_MAX_CONTAINERS = 1 << 20
_MAX_TUPLE_DEPTH = 100
_REFERENCE_BYTES = 8
_CHUNK_BYTES = 1 << 16
_LONGEST_HEAD = 9  # an opcode and the longest argument of fixed size, or count

_MARK = -1
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
  """Something in a pickle that is not admitted."""


class Item(NamedTuple):
  """One opcode of a pickle and where its argument lies in the file; `place` is that of a put or get
  in the memo.
  """

  name: str
  start: int
  length: int
  place: int


class _Opcode(NamedTuple):
  """How an opcode is followed by its argument, and what it does to the stack."""

  name: str
  fixed: int  # bytes of an argument of fixed size
  prefix: int  # bytes of the count before an argument of any size; 0 when there is none
  lines: int  # an argument of this many text lines
  has_place: bool
  pops: int  # from the stack; with `to_mark`, after everything down to the mark is taken off
  to_mark: bool
  pushes: list[int]  # what the stack of depths gets: 0, or _MARK


def _opcode(info: pickletools.OpcodeInfo) -> _Opcode:
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
  """Walks over a pickle's opcodes without carrying them out, skipping their data; in little memory.

  Args:
    file: seekable, at the start of the pickle; the caller may move it meanwhile.

  Raises:
    ValueError: not a pickle, or one that ends early, or claims more data than the file has.
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
  """The length in bytes of an argument in text, and the place when it is that of a put or get."""
  file.seek(start)
  text = [file.readline() for _ in range(opcode.lines)]
  return sum(len(line) for line in text), int(text[0][:20]) if opcode.has_place else 0


def check(file: BinaryIO) -> int:
  """Walks over a whole pickle and follows its stack; then puts `file` back to its start.

  How deep tuples are nested is followed because Python hashes them by recursion without a limit,
  and would crash.

  Returns:
    How many bytes the things made of it may take in all, for `Budget` and `weigh`.

  Raises: RefusedError: more opcodes than any honest file has, tuples nested too deep, or a memo
    place (in a table that
      grows to it) beyond the number of objects.
    ValueError, IndexError: as `scan`, or the stack is too short.
  """
  begin = file.tell()
  stack: list[int] = []  # the depths of tuples; 0 for all else
  memo: dict[int, int] = {}
  containers = start = 0
  for opcodes, (name, start, _, place) in enumerate(scan(file), 1):  # noqa: B007 - `start` is used afterwards
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
  """Does to the stack of depths what an opcode does to the stack."""
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
  """Counts the bytes that a pickle makes by calling: the same text can be given to call after call."""

  def __init__(self, limit: int) -> None:
    self._left = limit

  def charge(self, *given: Any) -> None:
    """Counts what a call is given. Raises RefusedError when all calls together are given too much."""
    self._left -= 64
    for value in given:
      if isinstance(value, str | bytes | bytearray):
        self._left -= len(value)
      elif isinstance(value, list | tuple):
        self._left -= 64 * len(value)
    if self._left < 0:
      raise RefusedError('it copies its data over and over')


def weigh(value: Any, limit: int) -> None:
  """Checks that plain data would fit into `limit` bytes if each of its references were a copy.

  Raises:
    RefusedError: it would not, or something contains itself.
  """
  weights: dict[int, int] = {}
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
  return isinstance(value, dict | list | tuple | set | frozenset) or (
    isinstance(value, np.ndarray) and value.dtype.hasobject
  )


def _children(value: Any) -> list[Any]:
  """What a container holds; of anything else, itself."""
  if not _is_container(value):
    return [value]
  if isinstance(value, dict):
    return [*value.keys(), *value.values()]
  return list(value.flat) if isinstance(value, np.ndarray) else list(value)


def _leaf_bytes(value: Any) -> int:
  if isinstance(value, np.ndarray):
    return value.nbytes
  if isinstance(value, range):
    return _REFERENCE_BYTES * max(0, -((value.start - value.stop) // value.step))
  return _REFERENCE_BYTES
