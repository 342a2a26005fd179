"""The page in headless Chromium: console, pictures, telephone width, dark mode.

The page stands in a frame of the wanted width. A script around it, which is the test's own, looks
at it and writes what it found as JSON into the document, which Chromium then prints.
"""

from __future__ import annotations

import html
import json
import pathlib
import re
import shutil
import subprocess
from typing import Any

import pytest

from hypertransformer.reports import page as page_lib

BROWSER = next(
  filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), ''
)
pytestmark = [
  pytest.mark.slow,
  pytest.mark.skipif(not BROWSER, reason='there is no chromium (apt-get install chromium)'),
]
LOOK = """
<script>
function look() {
  const frame = document.querySelector('iframe'), inside = frame.contentWindow;
  const page = inside.document, root = page.documentElement;
  const colour = (element, name) => inside.getComputedStyle(element)[name];
  const found = {
    needed: Math.max(root.scrollWidth, page.body.scrollWidth),
    wider: [...page.querySelectorAll('body *')].filter(
      each => each.getBoundingClientRect().right > inside.innerWidth + 1).length,
    pictures: [...page.querySelectorAll('svg')].map(svg => {
      const box = svg.getBoundingClientRect();
      return {width: box.width, marks: svg.querySelectorAll('path, use').length,
        letters: Math.min(...[...svg.querySelectorAll('text')].map(
          text => text.getBoundingClientRect().height)),
        ink: colour(svg.querySelector('text'), 'fill')};
    }),
    ground: colour(page.body, 'backgroundColor'), text: colour(page.body, 'color'),
    asked: inside.performance.getEntriesByType('resource').map(each => each.name),
  };
  document.querySelector('pre').textContent = JSON.stringify(found);
}
</script>
"""


def look(page: pathlib.Path, width: int, *arguments: str) -> dict[str, Any]:
  """Opens the page in a frame of this width; returns what was found, and the console's lines."""
  around = page.with_name('around.html')
  around.write_text(
    f'<!DOCTYPE html><meta charset="utf-8">{LOOK}<pre></pre>'
    f'<iframe style="width:{width}px;height:900px;border:0" onload="look()" '
    f'srcdoc="{html.escape(page.read_text())}"></iframe>'
  )
  done = subprocess.run(
    [BROWSER, '--headless=new', '--no-sandbox', '--disable-gpu', '--enable-logging=stderr',
     f'--user-data-dir={page.with_name("browser")}', '--window-size=1400,1000',
     '--virtual-time-budget=5000', *arguments, '--dump-dom', around.as_uri()],
    capture_output=True, text=True, check=True, timeout=240,
  )  # fmt: skip
  found = re.search(r'<pre>(.+?)</pre>', done.stdout, re.DOTALL)
  assert found, done.stdout[-2000:] + done.stderr[-2000:]
  console = [line for line in done.stderr.splitlines() if 'CONSOLE' in line]
  return json.loads(html.unescape(found[1])) | {'console': console}


@pytest.fixture
def page(three_runs: list[pathlib.Path], tmp_path: pathlib.Path) -> pathlib.Path:
  return page_lib.write([str(folder) for folder in three_runs], str(tmp_path / 'report.html'))[0]


def brightness(colour: str) -> float:
  red, green, blue = map(float, re.findall(r'[\d.]+', colour)[:3])
  return 0.299 * red + 0.587 * green + 0.114 * blue


@pytest.mark.parametrize('width', [1200, 390])
def test_it_is_read_at_every_width(page: pathlib.Path, width: int) -> None:
  found = look(page, width)
  assert (found['console'], found['asked']) == ([], [])
  assert (found['needed'] <= width, found['wider']) == (True, 0)
  assert len(found['pictures']) == 2
  for picture in found['pictures']:
    assert picture['width'] > 300
    assert picture['marks'] > 5
    assert picture['letters'] >= 9  # pixels, the height of a line


def test_it_is_dark_where_the_reader_wants_it(page: pathlib.Path) -> None:
  for number, dark in ((1, False), (0, True)):
    found = look(page, 800, f'--blink-settings=preferredColorScheme={number}')
    assert (brightness(found['ground']) < 60) == (brightness(found['text']) > 150) == dark
    assert {picture['ink'] for picture in found['pictures']} == {found['text']}
