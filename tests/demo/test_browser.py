"""The demo page in headless Chromium, with strokes of the mouse and of a finger."""

from __future__ import annotations

import math
import pathlib

import chromium
import pytest

from hypertransformer.demo.server import Server

pytestmark = [
  pytest.mark.slow,
  pytest.mark.skipif(
    not chromium.BROWSER, reason='there is no chromium (apt-get install chromium)'
  ),
]
CIRCLE = [(0.5 + 0.3 * math.cos(t / 4), 0.5 + 0.3 * math.sin(t / 4)) for t in range(26)]
SYMBOLS = [
  [CIRCLE],
  [[(0.2, 0.2), (0.5, 0.5), (0.8, 0.8)], [(0.8, 0.2), (0.5, 0.5), (0.2, 0.8)]],
  [[(0.2, 0.3), (0.8, 0.3)], [(0.5, 0.3), (0.5, 0.6), (0.5, 0.9)]],
]
BEST = 'document.querySelector("#answers li")?.textContent[0]'


def again(stroke: list[tuple[float, float]]) -> list[tuple[float, float]]:
  """Draws a stroke less well: smaller, and a little slanted."""
  return [(0.15 + 0.7 * x + 0.06 * y, 0.2 + 0.6 * y) for x, y in stroke]


@pytest.mark.parametrize(('width', 'dark'), [(1200, False), (390, True)])
def test_symbols_are_drawn_learned_and_recognized(
  server: Server, tmp_path: pathlib.Path, width: int, dark: bool
) -> None:
  touch = width < 500
  with chromium.opened(server.url, tmp_path, width, dark) as tab:
    assert tab.run('document.querySelector("#learn").disabled')
    for number, strokes in enumerate(SYMBOLS, 1):
      for stroke in strokes:
        tab.stroke(f'.pad:nth-child({number}) canvas', stroke, touch)
    tab.run('document.querySelector("#learn").focus()')
    for kind in ('keyDown', 'keyUp'):  # buttons are pressed by the keyboard, too
      tab.call(
        'Input.dispatchKeyEvent', type=kind, key='Enter', code='Enter', text='\r',
        windowsVirtualKeyCode=13,
      )  # fmt: skip
    tab.wait('document.querySelectorAll("#kernels figure").length === 5')
    for symbol, strokes in zip('CBA', reversed(SYMBOLS), strict=True):
      tab.run('document.querySelector("#clear").click()')
      for stroke in strokes:
        tab.stroke('#query', again(stroke), touch)
      tab.wait('!busy && !waiting && document.querySelector("#answers li")')
      assert tab.run(BEST) == symbol
    tab.run('scrollTo(0, 0)')
    tab.screenshot(tmp_path / 'page.png')
    assert tab.run('document.documentElement.scrollWidth') <= width
    assert tab.run('[...document.images].every(each => each.complete && each.naturalWidth)')
    ground = tab.run('getComputedStyle(document.body).backgroundColor')
    assert (int(ground.split('(')[1].split(',')[0]) < 60) == dark
    assert tab.run(
      '[...document.querySelectorAll("button, canvas, img")].filter(each => '
      '!(each.alt || each.id === "seen" || each.ariaLabel || each.textContent)).length'
    ) == 0  # fmt: skip
    asked = [
      event['params']['request']['url']
      for event in tab.events
      if event['method'] == 'Network.requestWillBeSent'
    ]
    assert all(url.startswith((server.url, 'data:')) for url in asked)
    trouble = {'Runtime.exceptionThrown', 'Runtime.consoleAPICalled', 'Log.entryAdded'}
    assert [event for event in tab.events if event['method'] in trouble] == []
