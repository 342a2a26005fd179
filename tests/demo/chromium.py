"""Chromium without a window, driven by its DevTools protocol through a pair of pipes.

Chromium reads commands from file 3 and writes answers to file 4, each ended by a zero byte. No
library is needed for that.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import pathlib
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from typing import Any

BROWSER = next(
  filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), ''
)
SECONDS = 60  # for the browser to answer


class Tab:
  """A tab of the browser."""

  def __init__(self, commands: Any, answers: Any) -> None:
    self._commands, self._answers = commands, answers
    self._number = 0
    self._session: dict[str, str] = {}
    self.events: list[dict[str, Any]] = []
    target = self.call('Target.createTarget', url='about:blank')['targetId']
    attached = self.call('Target.attachToTarget', targetId=target, flatten=True)
    self._session = {'sessionId': attached['sessionId']}
    for domain in ('Page', 'Runtime', 'Network', 'Log'):
      self.call(f'{domain}.enable')

  def call(self, method: str, **params: Any) -> dict[str, Any]:
    """Calls a method of the protocol; returns its result, and keeps the events before it."""
    self._number += 1
    command = {'id': self._number, 'method': method, 'params': params, **self._session}
    self._commands.write(json.dumps(command).encode() + b'\0')
    while True:
      answer = json.loads(self._read())
      if answer.get('id') == self._number:
        assert 'error' not in answer, answer
        return answer['result']
      self.events.append(answer)

  def _read(self) -> bytes:
    text = b''
    while (letter := self._answers.read(1)) != b'\0':
      assert letter, 'Chromium has ended'
      text += letter
    return text

  def run(self, script: str) -> Any:
    """Returns the value of a script, for which it waits if it is a promise."""
    found = self.call(
      'Runtime.evaluate', expression=script, awaitPromise=True, returnByValue=True
    )  # fmt: skip
    assert 'exceptionDetails' not in found, found
    return found['result'].get('value')

  def wait(self, condition: str) -> None:
    """Waits until a JavaScript condition holds."""
    script = (
      'new Promise((done, fail) => { const end = performance.now() + %d; (function look() {'
      ' if (%s) done(); else if (performance.now() > end) fail("waited too long");'
      ' else setTimeout(look, 20); })(); })'
    )
    self.run(script % (1000 * SECONDS, condition))

  def stroke(self, selector: str, points: Sequence[Sequence[float]], touch: bool = False) -> None:
    """Draws a stroke on an element with the mouse or a finger; points are in 0..1."""
    left, top, width, height = self.run(
      f'(e => {{ e.scrollIntoView({{block: "center"}}); const b = e.getBoundingClientRect(); '
      f'return [b.left, b.top, b.width, b.height]; }})(document.querySelector({selector!r}))'
    )
    places = [{'x': left + x * width, 'y': top + y * height} for x, y in points]
    if touch:
      kinds = ['touchStart'] + ['touchMove'] * (len(places) - 1)
      for kind, place in zip(kinds, places, strict=True):
        self.call('Input.dispatchTouchEvent', type=kind, touchPoints=[place])
      self.call('Input.dispatchTouchEvent', type='touchEnd', touchPoints=[])
    else:
      button = {'button': 'left', 'buttons': 1, 'clickCount': 1}
      kinds = ['mousePressed'] + ['mouseMoved'] * (len(places) - 1)
      for kind, place in zip(kinds, places, strict=True):
        self.call('Input.dispatchMouseEvent', type=kind, **place, **button)
      self.call('Input.dispatchMouseEvent', type='mouseReleased', **places[-1], button='left')

  def screenshot(self, path: pathlib.Path) -> None:
    """Writes a picture of the whole page."""
    found = self.call('Page.captureScreenshot', captureBeyondViewport=True)
    path.write_bytes(base64.b64decode(found['data']))


@contextlib.contextmanager
def opened(url: str, folder: pathlib.Path, width: int = 1200, dark: bool = False) -> Iterator[Tab]:
  """Opens a page in a new browser, with an own profile in the folder."""
  to_read, to_command = os.pipe()
  to_answer, to_write = os.pipe()
  words = [
    BROWSER, '--headless=new', '--no-sandbox', '--disable-gpu', '--remote-debugging-pipe',
    f'--user-data-dir={folder / "browser"}', '--no-first-run', '--disable-background-networking',
  ]  # fmt: skip
  process = subprocess.Popen(
    ['bash', '-c', f'exec "$@" 3<&{to_read} 4>&{to_write}', 'bash', *words],
    pass_fds=(to_read, to_write), stderr=subprocess.DEVNULL,
  )  # fmt: skip
  os.close(to_read)
  os.close(to_write)
  try:
    with open(to_command, 'wb', buffering=0) as commands, open(to_answer, 'rb') as answers:
      tab = Tab(commands, answers)
      feature = {'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}
      tab.call('Emulation.setEmulatedMedia', features=[feature])
      tab.call(
        'Emulation.setDeviceMetricsOverride',
        width=width, height=900, deviceScaleFactor=1, mobile=width < 500,
      )  # fmt: skip
      tab.call('Emulation.setTouchEmulationEnabled', enabled=width < 500)
      tab.call('Page.navigate', url=url)
      tab.wait('document.readyState === "complete" && document.querySelector("canvas")')
      yield tab
  finally:
    process.kill()
    process.wait()
