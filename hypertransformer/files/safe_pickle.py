"""Reading pickles of strangers: NumPy arrays and plain data, nothing else is ever called.

A pickle names functions to call while it is read, so a bare `pickle.load` runs whatever its author
wished. Here each admitted name stands for a function of this file that checks its arguments; not
even NumPy's own are reached, since forged array states and dtypes can corrupt memory. Before that
`pickle_scan` refuses what would fill the memory or crash. Python 2 pickles are read too, their
strings as latin1.
"""

from __future__ import annotations

import io
import math
import pathlib
import pickle
import re
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from hypertransformer.errors import InputError
from hypertransformer.files import npy, pickle_scan, sniff
from hypertransformer.files.pickle_scan import Budget, RefusedError

_PLAIN_DTYPE = re.compile(r'[<>=|]?([biufcSU][0-9]+|O[0-9]*)')
_BYTE_ORDERS = ('<', '>', '=', '|')


class _Admitted:
  """Stands for one admitted name: may be called, and its attributes cannot be set by the pickle."""

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
  """A dtype in the making: a pickle gives a code such as 'u1', then a state with the byte order."""

  def __init__(self, code: str) -> None:
    if not isinstance(code, str) or not _PLAIN_DTYPE.fullmatch(code):
      raise RefusedError(f'it holds the dtype {str(code)[:40]!r}; only plain ones are admitted')
    self.dtype = np.dtype('O' if 'O' in code else code)

  def __setstate__(self, state: tuple) -> None:
    # (version, byte order, subdtype, names, fields, ...): structured dtypes have the last three.
    if any(part is not None for part in state[2:5]) or state[1] not in _BYTE_ORDERS:
      raise RefusedError('it holds a structured dtype; only plain ones are admitted')
    self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray):
  """An array in the making: made empty, then given its state."""

  budget: Budget

  def __setstate__(self, state: Any) -> None:
    version, shape, kind, fortran, data = state
    self.budget.charge(data)
    dtype, filling = _check_array(shape, kind, data)
    checked: Any = (version, shape, dtype, bool(fortran), filling)
    super().__setstate__(checked)


def _check_array(shape: tuple, kind: Any, data: Any) -> tuple[np.dtype, Any]:
  """The dtype and the data of an array; raises RefusedError unless the data fill the shape."""
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
  # Bounded before sizes are multiplied: numbers in a pickle may have a million digits.
  return (
    isinstance(shape, tuple)
    and len(shape) <= 32
    and all(type(size) is int and 0 <= size < 1 << 48 for size in shape)
  )


def _reconstruct(kind: Any, shape: tuple, typecode: Any) -> np.ndarray:
  """numpy.core.multiarray._reconstruct: an empty array, whose state follows."""
  return _Array((0,), np.uint8)


def _from_buffer(data: Any, kind: _DType, shape: tuple, order: str) -> np.ndarray:
  """numpy.core.numeric._frombuffer: the arrays of pickle protocol 5."""
  dtype, filling = _check_array(shape, kind, data)
  return np.frombuffer(filling, dtype).reshape(shape, order='F' if order == 'F' else 'C')


def _scalar(kind: _DType, data: Any) -> Any:
  """numpy.core.multiarray.scalar: one number or string of a dtype."""
  dtype, filling = _check_array((), kind, data)
  return np.frombuffer(filling, dtype)[0]


def _only_named(name: str) -> Callable[..., Any]:
  """Stands for a class that pickles pass on as an argument."""

  def call(*args: Any) -> Any:
    raise RefusedError(f'it calls {name}, which may only be named')

  return call


def _encode(text: str, encoding: str = 'latin1') -> bytes:
  """_codecs.encode: how Python 3 writes bytes in the pickles meant for Python 2."""
  if encoding not in ('latin1', 'latin-1', 'utf-8'):
    raise RefusedError(f'it uses the text encoding {encoding!r}')
  return str.encode(text, encoding)


def _bytearray(data: bytes | str = b'', encoding: str = 'latin1') -> bytearray:
  """bytearray of given data; never of a mere (huge) length."""
  return bytearray(_encode(data, encoding) if isinstance(data, str) else bytes(memoryview(data)))


def _empty_bytes() -> bytes:
  """bytes without arguments: how b'' is written for Python 2."""
  return b''


def _collection(kind: Callable[[Any], Any]) -> Callable[..., Any]:
  """set or frozenset of a list; never of a (huge) range."""

  def make(items: list | tuple = ()) -> Any:
    if not isinstance(items, list | tuple):
      raise RefusedError(f'it makes a set of a {type(items).__name__}')
    return kind(items)

  return make


def _ordered_dict(items: list | tuple = ()) -> dict:
  """collections.OrderedDict, of a list of pairs: a dict."""
  if not isinstance(items, list | tuple):
    raise RefusedError(f'it makes a dict of a {type(items).__name__}')
  return dict(items)


def _default_dict(factory: Any = None) -> dict:
  """collections.defaultdict: a plain dict, which the pickle then fills."""
  return {}


def _dtype(code: str, align: Any = False, copy: Any = True) -> _DType:
  """numpy.dtype: a dtype by its code, whose state follows."""
  return _DType(code)


def _admitted() -> dict[tuple[str, str], Callable[..., Any]]:
  """Every name that a pickle may use."""
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
  for builtins in ('builtins', '__builtin__'):  # Python 3's and Python 2's name of it
    names[builtins, 'set'] = _collection(set)
    names[builtins, 'frozenset'] = _collection(frozenset)
    names[builtins, 'bytes'] = _empty_bytes
    names[builtins, 'bytearray'] = _bytearray
    names[builtins, 'complex'] = complex
    names[builtins, 'range'] = range
    for factory in ('list', 'dict', 'int'):  # of a defaultdict
      names[builtins, factory] = _only_named(factory)
  return names


_ADMITTED = _admitted()
_ADMITTED_TEXTS = {part for name in _ADMITTED for part in name} | {'latin1'}


def refuse_text(text: bytes) -> None:
  """For files of arrays that are looked through and not unpickled: each text must be one that
  arrays need.

  Raises:
    RefusedError: it is a name that is not admitted, or other text.
  """
  for part in text.decode('utf-8', 'replace').split():
    if len(part) > 2 and part not in _ADMITTED_TEXTS:  # two letters: a dtype or a byte order
      raise RefusedError(
        f'it holds the name {part[:80]!r}, and only arrays are admitted (nothing of it was run)'
      )


class _Unpickler(pickle.Unpickler):
  """Knows the admitted names only, and lets calls make `limit` bytes in all."""

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
  """Reads a pickle file (.pkl) of Python 2 or 3.

  Returns:
    Plain Python data and NumPy arrays. The arrays may be of a subclass of ndarray: np.asarray gives
    the plain array without a copy.

  Raises:
    InputError: a web page, a truncated or broken file, or a pickle that uses any name beyond
      NumPy's array rebuilding and plain data; the message has the file and the name, and nothing
      was run.
  """
  sniff.refuse_page_or_empty(path, 'a pickle')
  with open(path, 'rb') as file:
    return load_stream(file, str(path))


def load_stream(file: BinaryIO, what: str) -> Any:
  """As `load`, from an open, seekable binary file; `what` names it in errors."""
  try:
    limit = pickle_scan.check(file)
    value = _Unpickler(file, limit).load()
    pickle_scan.weigh(value, limit)
    return value
  except RefusedError as error:
    raise InputError(
      f'{what} is refused: {error}; if you trust it, save it again as a plain .npy array'
    ) from error
  except Exception as error:  # broken pickle data can raise any exception at all
    reason = ' '.join(str(error).split())  # in one line
    raise InputError(
      f'{what} is not a whole pickle ({type(error).__name__}: {reason}); make or download it again'
    ) from error


def loads(data: bytes, what: str) -> Any:
  """As `load`, from bytes; `what` names them in errors."""
  return load_stream(io.BytesIO(data), what)


def load_object_array(path: pathlib.Path) -> np.ndarray:
  """Reads a .npy file of dtype object, which is a header and a pickled array.

  Returns:
    The object array in the shape of the header.

  Raises:
    InputError: as `load`, or the file is not an object array.
  """
  sniff.refuse_page_or_empty(path, 'a NumPy .npy file')
  with open(path, 'rb') as file:
    header = npy.read_header(file, path)
    if header.dtype != np.dtype(object):
      raise InputError(f'{path} holds {header}; expected an object array')
    array = load_stream(file, str(path))
  if not isinstance(array, np.ndarray) or array.size != math.prod(header.shape):
    raise InputError(
      f'{path} promises {header}, and its pickle holds something else; make it again'
    )
  return np.asarray(array).reshape(header.shape)
