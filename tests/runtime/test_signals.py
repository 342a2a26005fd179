"""The signals that end a program: each is noted once, or interrupts; ignored ones stay ignored."""

from __future__ import annotations

import os
import signal

import pytest

from hypertransformer.runtime import signals


@pytest.mark.parametrize('name', ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1'])
def test_a_signal_is_noted_or_interrupts(lines: list[str], name: str) -> None:
  number = getattr(signal, name)
  before = signal.getsignal(number)
  with signals.StopSignal('saving') as stop:
    os.kill(os.getpid(), number)
  assert stop.received == number
  assert f'{name}: saving.' in lines
  with pytest.raises(KeyboardInterrupt), signals.StopSignal('saving', interrupts=True) as stop:
    os.kill(os.getpid(), number)
  assert stop.received == number
  assert signal.getsignal(number) == before


@pytest.mark.parametrize('name', ['SIGHUP', 'SIGUSR1'])
def test_a_signal_that_is_ignored_stays_so(name: str) -> None:
  number = getattr(signal, name)
  before = signal.signal(number, signal.SIG_IGN)
  try:
    with signals.StopSignal('saving') as stop:
      os.kill(os.getpid(), number)
    assert stop.received is None
  finally:
    signal.signal(number, before)
