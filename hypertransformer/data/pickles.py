"""Reading of untrusted pickles that hold NumPy arrays and plain data.

A pickle is a program: a sequence of opcodes that work on a stack and may call any function. `load`
carries out the opcodes of plain data and refuses all others. The few names that arrays need stand
for functions of this module, which check their arguments, because NumPy trusts those that it gets.

Opcodes of a few bytes can also fill the memory. So new objects are counted and refused if they
would be far larger than the file, and no list, dict or array may be in two places. Strings of
Python 2 are decoded as latin1.
"""

from __future__ import annotations

import math
import os
import pathlib
import pickle
import re
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, ClassVar

import numpy as np

from hypertransformer.data import files
from hypertransformer.errors import InputError

# Real files stay far below these limits: they hardly make more bytes than they have.
_MAX_GROWTH, _FREE_BYTES = 4, 1 << 26
_OBJECT_BYTES, _REFERENCE_BYTES = 48, 8
_MAX_KEY = 1 << 60  # larger numbers may have equal hashes, which make a dict slow
_MAX_AXES, _MAX_SIDE = 32, 1 << 48

_PLAIN_DTYPE = re.compile(r'[<>=|]?([biufcSU][0-9]+|O[0-9]*)')


class RefusedError(pickle.UnpicklingError):
  """A pickle holds something that is not allowed."""


class _DType:
  """A dtype: pickles make it from a code such as 'u1' and then set its byte order."""

  def __init__(self, code: str) -> None:
    if not _PLAIN_DTYPE.fullmatch(code):
      raise RefusedError(f'it holds the dtype {code[:40]!r}; only plain ones are allowed')
    self.dtype = np.dtype('O' if 'O' in code else code)

  def set_state(self, state: Sequence[Any]) -> None:
    """Take the state (version, byte order, subdtype, names, fields, ...)."""
    if any(part is not None for part in state[2:5]):
      raise RefusedError('it holds a structured dtype; only plain ones are allowed')
    self.dtype = self.dtype.newbyteorder(state[1])


def _checked_array(shape: Any, kind: Any, data: Any) -> tuple[np.dtype, Any]:
  """Return the dtype and the data of an array; raise RefusedError unless they fit its shape."""
  if (
    not isinstance(kind, _DType)
    or kind.dtype.itemsize == 0
    or not isinstance(shape, tuple)
    or len(shape) > _MAX_AXES
    or not all(type(size) is int and 0 <= size < _MAX_SIDE for size in shape)
  ):
    raise RefusedError('it holds an array with a malformed shape or dtype')
  if isinstance(data, str):  # a string of Python 2
    data = data.encode('latin1')
  count = math.prod(shape)
  if kind.dtype.hasobject:
    fits = isinstance(data, list) and len(data) == count
  else:
    fits = isinstance(data, bytes | bytearray) and len(data) == count * kind.dtype.itemsize
  if not fits:
    raise RefusedError(f'it holds an array whose data do not fill its shape {list(shape)}')
  return kind.dtype, data


def _array_of(data: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
  dtype, data = _checked_array(shape, kind, data)
  return np.frombuffer(data, dtype).reshape(shape, order='F' if order == 'F' else 'C')


def _scalar(kind: Any, data: Any) -> Any:
  dtype, data = _checked_array((), kind, data)
  return np.frombuffer(data, dtype)[0].item()


def _encoded(text: str, encoding: str) -> bytes:
  if encoding != 'latin1':
    raise RefusedError(f'it uses the text encoding {encoding[:40]!r}')
  return str.encode(text, encoding)


def _dict(items: Sequence[Sequence[Any]] = ()) -> dict[Any, Any]:
  return _fill({}, [part for key, value in items for part in (key, value)])


def _fill(target: dict[Any, Any], items: Sequence[Any]) -> dict[Any, Any]:
  """Add keys and values, which alternate in `items`, to a dict."""
  if type(target) is not dict:
    raise RefusedError(f'it sets items of a {type(target).__name__}')
  for key, value in zip(items[::2], items[1::2], strict=True):
    if type(key) not in (str, bytes, int) or (type(key) is int and abs(key) >= _MAX_KEY):
      raise RefusedError(f'it holds a dict with a key of type {type(key).__name__}')
    target[key] = value
  return target


# The names that a pickle may use, as (module, name). None for those that are only arguments.
_ALLOWED: dict[tuple[str, str], Callable[..., Any] | None] = {
  ('numpy', 'ndarray'): None,
  ('numpy', 'memmap'): None,
  ('numpy', 'dtype'): lambda code, *_: _DType(code),
  ('collections', 'OrderedDict'): _dict,
  ('collections', 'defaultdict'): lambda _: {},
  ('_codecs', 'encode'): _encoded,
  ('__builtin__', 'xrange'): range,
}
for _core in ('numpy.core', 'numpy._core'):
  _ALLOWED |= {
    (f'{_core}.multiarray', '_reconstruct'): lambda *_: np.empty(0, np.uint8),
    (f'{_core}.multiarray', 'scalar'): _scalar,
    (f'{_core}.numeric', '_frombuffer'): _array_of,
    (f'{_core}.memmap', 'memmap'): None,
  }
for _builtins in ('builtins', '__builtin__'):
  _ALLOWED |= {(_builtins, name): None for name in ('list', 'dict', 'int')}
  _ALLOWED |= {(_builtins, 'range'): range, (_builtins, 'bytes'): lambda: b''}


_PythonUnpickler: Any = pickle._Unpickler  # type: ignore[attr-defined]


class _Unpickler(_PythonUnpickler):  # type: ignore[misc]
  """Python's own unpickler, without the opcodes that plain data do not need.

  It is the one that is written in Python, because its memo is a dict, which stays small, and the
  functions of its opcodes can be replaced.
  """

  dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {}

  def __init__(self, file: BinaryIO) -> None:
    super().__init__(file, encoding='latin1')
    begin = file.tell()
    self._left = _MAX_GROWTH * (file.seek(0, os.SEEK_END) - begin) + _FREE_BYTES
    file.seek(begin)

  def find_class(self, module: str, name: str) -> Any:
    """Return the function of this module that stands for a name."""
    if (module, name) not in _ALLOWED:
      raise RefusedError(
        f'it uses {module}.{name}; only NumPy arrays and plain data are allowed (nothing was run)'
      )
    return _ALLOWED[module, name]

  def load_put(self) -> None:
    """Remember an object under a number."""
    number = int(self.readline())
    if not 0 <= number < _MAX_KEY:
      raise RefusedError('it numbers an object with a number above 2^60')
    self.memo[number] = self.stack[-1]

  def load_bytearray8(self) -> None:
    """Read bytes before memory is taken for them."""
    self.load_binbytes8()
    self.append(bytearray(self.stack.pop()))

  def load_setitem(self) -> None:
    """Add a key and a value to a dict."""
    value, key = self.stack.pop(), self.stack.pop()
    _fill(self.stack[-1], [key, value])

  def load_setitems(self) -> None:
    """Add keys and values to a dict."""
    items = self.pop_mark()
    _fill(self.stack[-1], items)

  def load_dict(self) -> None:
    """Make a dict of keys and values."""
    items = self.pop_mark()
    self.append(_fill({}, items))

  def load_build(self) -> None:
    """Set the state of an array or a dtype."""
    state, target = self.stack.pop(), self.stack[-1]
    if isinstance(target, _DType):
      target.set_state(state)
    elif type(target) is np.ndarray:
      version, shape, kind, fortran_order, data = state
      dtype, data = _checked_array(shape, kind, data)
      checked: Any = (version, shape, dtype, bool(fortran_order), data)
      target.__setstate__(checked)
    else:
      raise RefusedError(f'it sets the state of a {type(target).__name__}')

  def load_inst(self) -> None:
    """Refuse an opcode."""
    raise RefusedError('it holds a set, an instance of a class or a persistent id')

  load_obj = load_newobj = load_newobj_ex = load_persid = load_binpersid = load_inst
  load_ext1 = load_ext2 = load_ext4 = load_inst
  load_empty_set = load_frozenset = load_additems = load_dup = load_inst

  def refuse_shared(self) -> None:
    """Refuse a container that is in two places, where it would be copied or contain itself."""
    if isinstance(self.stack[-1], list | tuple | dict | range | np.ndarray):
      raise RefusedError(f'it holds the same {type(self.stack[-1]).__name__} twice')

  def count(self) -> None:
    """Count the object on top of the stack, which is new."""
    made = self.stack[-1]
    self._left -= _OBJECT_BYTES
    if isinstance(made, bytes | range):
      self._left -= len(made) * (1 if isinstance(made, bytes) else _REFERENCE_BYTES)
    elif isinstance(made, np.ndarray):
      self._left -= made.nbytes
    if self._left < 0:
      raise RefusedError('it would take far more memory than the file')


def _then(
  load: Callable[[_Unpickler], None], check: Callable[[_Unpickler], None]
) -> Callable[[_Unpickler], None]:
  """Return the function of an opcode that also checks the object on top of the stack."""

  def run(unpickler: _Unpickler) -> None:
    load(unpickler)
    check(unpickler)

  return run


# Makes the functions above the functions of their opcodes.
_NEW = ('empty_list', 'empty_dict', 'list', 'dict', 'tuple', 'tuple1', 'tuple2', 'tuple3')
_CHECKS = {
  **{f'load_{name}': _Unpickler.count for name in (*_NEW, 'reduce', 'build')},
  **{f'load_{name}': _Unpickler.refuse_shared for name in ('get', 'binget', 'long_binget')},
}
for _code, _load in _PythonUnpickler.dispatch.items():
  _name = _load.__name__
  _load = getattr(_Unpickler, _name)
  _Unpickler.dispatch[_code] = _then(_load, _CHECKS[_name]) if _name in _CHECKS else _load


def load(path: pathlib.Path) -> Any:
  """Read a pickle file of Python 2 or 3.

  Returns:
    Plain Python data and NumPy arrays.

  Raises:
    InputError: The file is a web page, truncated or malformed, or uses a name that arrays and plain
      data do not need. The message has the file and the name. Nothing of the pickle was run.
  """
  files.refuse_page_or_empty(path, 'a pickle')
  with open(path, 'rb') as file:
    return load_stream(file, files.shown(path))


def load_stream(file: BinaryIO, what: str) -> Any:
  """Read a pickle from an open file that can seek, as `load` does.

  Args:
    file: The open file, at the start of the pickle.
    what: The name of the pickle in errors.
  """
  try:
    return _Unpickler(file).load()
  except RefusedError as error:
    raise InputError(
      f'{what} is refused: {files.reason(error)}; if you trust it, save it as a plain .npy array'
    ) from error
  except Exception as error:  # malformed data can raise any exception
    raise InputError(
      f'{what} is not a whole pickle ({type(error).__name__}: {files.reason(error)}); make or '
      'download it again'
    ) from error


def load_object_array(path: pathlib.Path) -> np.ndarray:
  """Read a .npy file of Python objects: a header and the pickle of an array.

  Raises:
    InputError: As `load`, or the file does not hold an array of objects of the shape in its header.
  """
  files.refuse_page_or_empty(path, 'a NumPy .npy file')
  with open(path, 'rb') as file:
    header = files.read_header(file, path)
    if header.dtype != np.dtype(object):
      raise InputError(f'{path} holds {header}; expected an object array')
    array = load_stream(file, files.shown(path))
  if not isinstance(array, np.ndarray) or array.shape != header.shape:
    raise InputError(f'{path} should hold {header}, and its pickle holds something else')
  return array
