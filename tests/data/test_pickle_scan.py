"""The walk over the opcodes of a pickle, the limit to its calls, and the weight of its data."""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any

import numpy as np
import pytest

from hypertransformer.data import pickles

VALUES = {
  'plain': {
    'a': [1, -2, 3 << 40, 1 << 3000, 2.5, None, True, 'x' * 300, b'\x00' * 300, ('y', ()), {1}],
    'é\n': 'é\n',
  },
  'labels': list(range(100_000)),
  'arrays': [np.arange(300_000), np.arange(3), np.float32(2)],
  'long texts': ['x' * size for size in (1, 255, 256, 65_500, 70_000, 200_000)],
}


@pytest.mark.parametrize('protocol', range(6))
@pytest.mark.parametrize('name', VALUES)
def test_the_walk_finds_the_opcodes_of_pickletools(name: str, protocol: int) -> None:
  before = b'something else'
  data = pickle.dumps(VALUES[name], protocol)
  file = io.BytesIO(before + data + b'behind')
  file.seek(len(before))
  found = []
  for item in pickles.scan(file):
    found.append((item.name, item.start + item.length - len(before)))
    file.seek(3)  # the caller may move the file
  places = [(opcode.name, place) for opcode, _, place in pickletools.genops(data)]
  expected = [
    (opcode, end)
    for (opcode, _), (_, end) in zip(places, [*places[1:], ('', len(data))], strict=True)
  ]
  assert found == expected


@pytest.mark.parametrize('value', VALUES.values(), ids=VALUES)
def test_honest_data_pass_and_the_file_is_at_its_start_again(value: Any) -> None:
  file = io.BytesIO(b'abc' + pickle.dumps(value, 4))
  file.seek(3)
  limit = pickles.check(file)
  assert file.tell() == 3
  assert limit > len(file.getvalue())
  pickles.weigh(value, limit)


@pytest.mark.parametrize(
  ('data', 'found'),
  [
    (b'', 'ends in the middle'),
    (b'\x80\x02]', 'ends in the middle'),
    (b'hello', "no opcode b'h'|ends|claims"),
    (b'\x80\x02\x07.', r"no opcode b'\\x07' exists, byte 2"),
    (b'\x80\x02B\x05\x00\x00\x00abc', 'claims 5 bytes'),
  ],
)
def test_broken_pickles_are_errors(data: bytes, found: str) -> None:
  with pytest.raises(ValueError, match=found):
    list(pickles.scan(io.BytesIO(data)))


def _weight(value: Any) -> int:
  """Finds the smallest limit that is not refused."""
  low, high = 0, 1 << 40
  while low < high:
    middle = (low + high) // 2
    try:
      pickles.weigh(value, middle)
      high = middle
    except pickles.RefusedError:
      low = middle + 1
  return low


def test_each_reference_weighs_as_much_as_a_copy() -> None:
  shared = [1, 2, 3]
  assert _weight(shared) == 8 + 3 * 8
  assert _weight([shared, shared, 'x']) == 8 + 2 * 32 + 8
  assert _weight({'a': np.zeros(1000), 'b': range(5, 25, 2)}) == 8 + 2 * 8 + 8000 + 10 * 8
  ragged = np.empty(2, object)
  ragged[:] = [shared, np.zeros(3, np.uint8)]
  assert _weight(ragged) == 8 + 32 + 3


def test_the_budget_counts_every_call() -> None:
  budget = pickles.Budget(1000)
  for _ in range(4):
    budget.charge('x' * 100)
  budget.charge([1, 2])
  with pytest.raises(pickles.RefusedError, match='copies its data over and over'):
    budget.charge(b'x' * 100)
