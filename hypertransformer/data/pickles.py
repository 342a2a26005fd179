"""Reads pickles of strangers that hold NumPy arrays and plain data; nothing else is ever called.

A pickle names functions that are called while it is read, so Python's `pickle.load` runs whatever
the author of the file wished. Here only the names of a list are admitted, and each of them stands
for a function of this module, which checks its arguments. Not even NumPy's own functions are
reached, because forged dtypes and states of arrays can corrupt memory. Before that, `pickle_scan`
refuses what would fill the memory or crash Python. Pickles of Python 2 are read too; their strings
are decoded as latin1.
"""

from __future__ import annotations

import io
import math
import os
import pathlib
import pickle
import pickletools
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from hypertransformer.data import files
from hypertransformer.errors import InputError

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


_PLAIN_DTYPE = re.compile(r'[<>=|]?([biufcSU][0-9]+|O[0-9]*)')
_BYTE_ORDERS = ('<', '>', '=', '|')


class _Admitted:
  """What a pickle gets for an admitted name: it can call it, but set none of its attributes."""

  __slots__ = ('_budget', '_function')

  def __init__(self, function: Callable[..., Any], budget: Budget) -> None:
    self._function, self._budget = function, budget

  def __call__(self, *args: Any) -> Any:
    self._budget.charge(*args)
    result = self._function(*args)
    if isinstance(result, _Array):
      result.budget = self._budget
    return result

  def __setstate__(self, state: Any) -> None:
    raise RefusedError('it sets the state of a function')


class _DType:
  """A dtype in the making.

  A pickle makes a dtype in two steps: first by a code such as 'u1', then by a state, which has the
  order of the bytes.
  """

  def __init__(self, code: str) -> None:
    if not isinstance(code, str) or not _PLAIN_DTYPE.fullmatch(code):
      raise RefusedError(f'it holds the dtype {str(code)[:40]!r}; only plain ones are admitted')
    self.dtype = np.dtype('O' if 'O' in code else code)

  def __setstate__(self, state: tuple) -> None:
    # The state is (version, byte order, subdtype, names, fields, ...). Only structured dtypes have
    # one of the last three.
    if any(part is not None for part in state[2:5]) or state[1] not in _BYTE_ORDERS:
      raise RefusedError('it holds a structured dtype; only plain ones are admitted')
    self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray):
  """An array in the making: a pickle makes it empty and then gives it its state."""

  budget: Budget

  def __setstate__(self, state: Any) -> None:
    version, shape, kind, fortran, data = state
    self.budget.charge(data)
    dtype, filling = _check_array(shape, kind, data)
    checked: Any = (version, shape, dtype, bool(fortran), filling)
    super().__setstate__(checked)


def _check_array(shape: tuple, kind: Any, data: Any) -> tuple[np.dtype, Any]:
  """Returns the dtype and the data of an array, if they fit together.

  Args:
    shape: the shape of the array.
    kind: its dtype, which should be a _DType.
    data: its elements: bytes, or a list for an array of objects.

  Raises:
    RefusedError: the shape or the dtype is malformed, or the data do not fill the shape.
  """
  if not isinstance(kind, _DType) or not _is_shape(shape) or kind.dtype.itemsize == 0:
    raise RefusedError('it holds an array of a malformed dtype or shape')
  if isinstance(data, str):  # a Python 2 string comes as text, one latin1 character per byte
    data = data.encode('latin1')
  count = math.prod(shape)
  if kind.dtype.hasobject:
    fits = isinstance(data, list) and len(data) == count
  else:
    fits = isinstance(data, bytes | bytearray) and len(data) == count * kind.dtype.itemsize
  if not fits:
    raise RefusedError(f'the data of an array do not fill its shape {list(shape)}')
  return kind.dtype, data


def _is_shape(shape: Any) -> bool:
  """Tells whether `shape` is a tuple of a few numbers that are not too large."""
  # Sizes are limited before they are multiplied: a number in a pickle can have a million digits.
  return (
    isinstance(shape, tuple)
    and len(shape) <= 32
    and all(type(size) is int and 0 <= size < 1 << 48 for size in shape)
  )


def _reconstruct(kind: Any, shape: tuple, typecode: Any) -> np.ndarray:
  """Stands for numpy.core.multiarray._reconstruct: makes an empty array, whose state follows."""
  return _Array((0,), np.uint8)


def _from_buffer(data: Any, kind: _DType, shape: tuple, order: str) -> np.ndarray:
  """Stands for numpy.core.numeric._frombuffer: makes an array in pickles of protocol 5."""
  dtype, filling = _check_array(shape, kind, data)
  return np.frombuffer(filling, dtype).reshape(shape, order='F' if order == 'F' else 'C')


def _scalar(kind: _DType, data: Any) -> Any:
  """Stands for numpy.core.multiarray.scalar: makes one number or string of a dtype."""
  dtype, filling = _check_array((), kind, data)
  return np.frombuffer(filling, dtype)[0]


def _only_named(name: str) -> Callable[..., Any]:
  """Returns a function for a name that pickles pass on as an argument but never call."""

  def call(*args: Any) -> Any:
    raise RefusedError(f'it calls {name}, which may only be named')

  return call


def _encode(text: str, encoding: str = 'latin1') -> bytes:
  """Stands for _codecs.encode, by which Python 3 writes bytes in pickles meant for Python 2."""
  if encoding not in ('latin1', 'latin-1', 'utf-8'):
    raise RefusedError(f'it uses the text encoding {encoding!r}')
  return str.encode(text, encoding)


def _bytearray(data: bytes | str = b'', encoding: str = 'latin1') -> bytearray:
  """Stands for bytearray of given data; a mere length, which could be huge, is refused."""
  return bytearray(_encode(data, encoding) if isinstance(data, str) else bytes(memoryview(data)))


def _empty_bytes() -> bytes:
  """Stands for bytes without arguments, by which b'' is written in pickles meant for Python 2."""
  return b''


def _collection(kind: Callable[[Any], Any]) -> Callable[..., Any]:
  """Stands for set or frozenset of a list; a range, which could be huge, is refused."""

  def make(items: list | tuple = ()) -> Any:
    if not isinstance(items, list | tuple):
      raise RefusedError(f'it makes a set of a {type(items).__name__}')
    return kind(items)

  return make


def _ordered_dict(items: list | tuple = ()) -> dict:
  """Stands for collections.OrderedDict of a list of pairs: makes a plain dict."""
  if not isinstance(items, list | tuple):
    raise RefusedError(f'it makes a dict of a {type(items).__name__}')
  return dict(items)


def _default_dict(factory: Any = None) -> dict:
  """Stands for collections.defaultdict: makes a plain dict, which the pickle then fills."""
  return {}


def _dtype(code: str, align: Any = False, copy: Any = True) -> _DType:
  """Stands for numpy.dtype: makes a dtype by its code; the state follows."""
  return _DType(code)


def _admitted() -> dict[tuple[str, str], Callable[..., Any]]:
  """Returns the function for each name that a pickle may use, by (module, name)."""
  names: dict[tuple[str, str], Callable[..., Any]] = {
    ('numpy', 'ndarray'): _only_named('numpy.ndarray'),
    ('numpy', 'memmap'): _only_named('numpy.memmap'),
    ('numpy', 'dtype'): _dtype,
    ('collections', 'OrderedDict'): _ordered_dict,
    ('collections', 'defaultdict'): _default_dict,
    ('_codecs', 'encode'): _encode,
    ('__builtin__', 'xrange'): range,
  }
  for core in ('numpy.core', 'numpy._core'):
    names[f'{core}.multiarray', '_reconstruct'] = _reconstruct
    names[f'{core}.multiarray', 'scalar'] = _scalar
    names[f'{core}.numeric', '_frombuffer'] = _from_buffer
    names[f'{core}.memmap', 'memmap'] = _only_named('numpy.memmap')
  for builtins in ('builtins', '__builtin__'):  # the name in Python 3 and in Python 2
    names[builtins, 'set'] = _collection(set)
    names[builtins, 'frozenset'] = _collection(frozenset)
    names[builtins, 'bytes'] = _empty_bytes
    names[builtins, 'bytearray'] = _bytearray
    names[builtins, 'complex'] = complex
    names[builtins, 'range'] = range
    for factory in ('list', 'dict', 'int'):  # the first argument of a defaultdict
      names[builtins, factory] = _only_named(factory)
  return names


_ADMITTED = _admitted()
_ADMITTED_TEXTS = {part for name in _ADMITTED for part in name} | {'latin1'}


def refuse_text(text: bytes) -> None:
  """Refuses a text in a pickle unless arrays need it.

  This is for pickles of arrays that are only looked through, not read (`packed_images`).

  Args:
    text: the argument of an opcode, encoded in UTF-8.

  Raises:
    RefusedError: the text has a name that is not admitted, or other words.
  """
  for part in text.decode('utf-8', 'replace').split():
    # Dtypes and byte orders have at most two letters.
    if len(part) > 2 and part not in _ADMITTED_TEXTS:
      raise RefusedError(
        f'it holds the name {part[:80]!r}, and only arrays are admitted (nothing of it was run)'
      )


class _Unpickler(pickle.Unpickler):
  """An unpickler that knows the admitted names only, and lets calls make `limit` bytes in all."""

  def __init__(self, file: BinaryIO, limit: int) -> None:
    super().__init__(file, encoding='latin1')
    self._budget = Budget(limit)

  def find_class(self, module: str, name: str) -> Any:
    if (module, name) not in _ADMITTED:
      raise RefusedError(
        f'it wants to use {module}.{name}, and only NumPy arrays and plain data '
        'are admitted (nothing of it was run)'
      )
    return _Admitted(_ADMITTED[module, name], self._budget)


def load(path: pathlib.Path) -> Any:
  """Reads a pickle file of Python 2 or 3.

  Returns:
    Plain Python data and NumPy arrays. The arrays may be of a subclass of ndarray; np.asarray makes
    plain arrays of them without a copy.

  Raises:
    InputError: the file is a web page, cut short or broken, or it uses a name that arrays and plain
      data do not need. The message has the file and the name. Nothing of the pickle was run.
  """
  files.refuse_page_or_empty(path, 'a pickle')
  with open(path, 'rb') as file:
    return load_stream(file, str(path))


def load_stream(file: BinaryIO, what: str) -> Any:
  """Reads a pickle from an open file that can seek, as `load` does.

  Args:
    file: the open file, at the start of the pickle.
    what: the name of the pickle in errors.
  """
  try:
    limit = check(file)
    value = _Unpickler(file, limit).load()
    weigh(value, limit)
    return value
  except RefusedError as error:
    raise InputError(
      f'{what} is refused: {error}; if you trust it, save it again as a plain .npy array'
    ) from error
  except Exception as error:  # broken pickle data can raise any exception at all
    reason = ' '.join(str(error).split())  # without line breaks
    raise InputError(
      f'{what} is not a whole pickle ({type(error).__name__}: {reason}); make or download it again'
    ) from error


def loads(data: bytes, what: str) -> Any:
  """Reads a pickle from bytes, as `load` does; `what` is its name in errors."""
  return load_stream(io.BytesIO(data), what)


def load_object_array(path: pathlib.Path) -> np.ndarray:
  """Reads a .npy file of Python objects: a header, and after it the pickle of an array.

  Returns:
    The array of objects, in the shape that the header says.

  Raises:
    InputError: as `load`, or the file does not hold an array of objects.
  """
  files.refuse_page_or_empty(path, 'a NumPy .npy file')
  with open(path, 'rb') as file:
    header = files.read_header(file, path)
    if header.dtype != np.dtype(object):
      raise InputError(f'{path} holds {header}; expected an object array')
    array = load_stream(file, str(path))
  if not isinstance(array, np.ndarray) or array.size != math.prod(header.shape):
    raise InputError(
      f'{path} promises {header}, and its pickle holds something else; make it again'
    )
  return np.asarray(array).reshape(header.shape)
