"""What the tests of settings share: the values of all flags, with changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hypertransformer.settings import flags


@pytest.fixture(scope='session')
def values() -> Callable[..., dict[str, Any]]:
  """values(**changes): the defaults of all flags by name, with changes of flags that exist."""

  def make(**changes: Any) -> dict[str, Any]:
    assert not set(changes) - set(flags.defaults())
    return {**flags.defaults(), **changes}

  return make
