"""What the tests of the comparison with the original share."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from tests.parity.tolerances import Comparison


@pytest.fixture(scope='session')
def failures() -> Callable[[Iterable[Comparison]], dict[str, str]]:
  """failures(results): the key and the note of each comparison that does not pass."""
  return lambda results: {result.key: result.note for result in results if not result.passed}
