"""The server of the demo page: drawings, predictions, and requests that it refuses."""

from __future__ import annotations

import http.client
import json
import os
import pathlib
import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from hypertransformer.demo import server as server_lib
from hypertransformer.errors import InputError

ROOT = pathlib.Path(__file__).resolve().parents[2]
LINE = [[[0.1, 0.1], [0.9, 0.9]]]


def ask(
  server: server_lib.Server, path: str, body: Any = None, method: str = '', **headers: str
) -> tuple[int, Any, http.client.HTTPMessage]:
  """Sends a request; returns the status, the answer and the headers of the answer."""
  connection = http.client.HTTPConnection('127.0.0.1', server.server_port, timeout=60)
  text = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
  connection.request(method or ('GET' if body is None else 'POST'), path, text, headers)
  answer = connection.getresponse()
  found = answer.read()
  connection.close()
  is_json = answer.headers['Content-Type'] == 'application/json'
  return answer.status, json.loads(found) if is_json else found.decode(), answer.headers


def test_the_page_may_ask_no_other_host(server: server_lib.Server) -> None:
  status, page, headers = ask(server, '/')
  assert (status, 'http:' in page, 'https:' in page) == (200, False, False)
  policy = headers['Content-Security-Policy']
  assert policy.startswith("default-src 'none'")
  assert 'http' not in policy


def test_symbols_are_learned_and_recognized(server: server_lib.Server) -> None:
  status, first, _ = ask(server, '/learn', {'drawings': server_lib.FIRST})
  assert status == 200
  assert [layer['name'] for layer in first['layers']] == [
    'layer 1', 'layer 2', 'layer 3', 'layer 4', 'layer 5',
  ]  # fmt: skip
  pictures = {name for name in first['layers'][0] if name not in ('name', 'shape', 'change')}
  assert all(
    layer[name].startswith('data:image/png') for layer in first['layers'] for name in pictures
  )
  for number, drawing in enumerate(server_lib.FIRST):
    status, found, _ = ask(server, '/predict', {'task': first['task'], 'drawing': drawing})
    assert (status, int(np.argmax(found['probabilities']))) == (200, number)
    assert sum(found['probabilities']) == pytest.approx(1)
  _, second, _ = ask(server, '/learn', {'drawings': server_lib.FIRST[:2]})
  assert all(layer['change'] > 0 for layer in second['layers'])
  status, found, _ = ask(server, '/predict', {'task': first['task'], 'drawing': LINE})
  assert (status, 'Press Learn again' in found['error']) == (400, True)


@pytest.mark.parametrize(
  ('path', 'body', 'options', 'status', 'message'),
  [
    ('/none', None, {}, 404, '/none'),
    ('/../setup.py', None, {}, 404, 'setup.py'),
    ('/', b'{}', {}, 404, '/'),
    ('/learn', None, {}, 404, '/learn'),
    ('/learn', b'{', {}, 400, 'no JSON'),
    ('/learn', b'\xff', {}, 400, 'no JSON'),
    ('/learn', b'[' * 100_000, {}, 400, 'no JSON'),
    ('/learn', [], {}, 400, 'no JSON object'),
    ('/learn', {}, {}, 400, 'Draw 2 to 20'),
    ('/learn', {'drawings': [LINE]}, {}, 400, 'Draw 2 to 20'),
    ('/learn', {'drawings': [LINE] * 21}, {}, 400, 'Draw 2 to 20'),
    ('/learn', {'drawings': [LINE, []]}, {}, 400, 'empty or malformed'),
    ('/predict', {}, {}, 400, 'empty or malformed'),
    ('/predict', {'drawing': LINE, 'task': True}, {}, 400, 'Another task'),
    ('/learn', None, {'method': 'POST', 'Content-Length': '-1'}, 411, 'Content-Length'),
    ('/learn', None, {'method': 'POST', 'Content-Length': '2000000'}, 413, '2000000 bytes'),
    ('/', None, {'method': 'PUT'}, 501, 'PUT'),
    ('/', None, {'Host': 'evil.example'}, 403, 'Open the page as http://127.0.0.1:'),
    ('/learn', b'{}', {'Origin': 'http://evil.example'}, 403, 'Open the page'),
  ],
)
def test_other_requests_are_refused(
  server: server_lib.Server, path: str, body: Any, options: Any, status: int, message: str
) -> None:
  found, answer, _ = ask(server, path, body, **options)
  assert (found, message in answer['error']) == (status, True), answer


@pytest.mark.parametrize(
  'drawing',
  [
    None, 3, 'a', {}, [], [[]], [[1]], [[[0.1]]], [[[0, 2]]], [[[0, float('nan')]]],
    [[['a', 'b']]], [[None]], [{'x': 1}], [[[0, 0]] * 20_001],
  ],
)  # fmt: skip
def test_what_is_no_drawing_is_refused(drawing: Any) -> None:
  with pytest.raises(InputError, match='A drawing'):
    server_lib.rendered(drawing)


@pytest.mark.parametrize(
  ('scale', 'shift', 'side', 'middle'),
  [(1, 0, 24, 13.5), (0.5, 0.2, 15, 12.5), (0.1, 0.1, 12, 11.2), (0.5, 0.5, 15, 15.9)],
)
def test_a_drawing_is_made_like_those_of_omniglot(
  scale: float, shift: float, side: int, middle: float
) -> None:
  """In 90 % of them, the side is 12 to 24 pixels long and the middle is at 10.5 to 15.5."""
  examples = np.load(ROOT / 'examples/data/omniglot_unseen.npz')['images'].reshape(-1, 28, 28)
  zigzag = server_lib.FIRST[2]
  image = server_lib.rendered(
    [[[shift + scale * x for x in point] for point in stroke] for stroke in zigzag]
  )
  assert (image.shape, image.dtype, image.max()) == ((28, 28), np.uint8, 255)
  for places in np.nonzero(image > 100):
    assert np.ptp(places) + 1 == pytest.approx(side, abs=1)
    assert (places.min() + places.max()) / 2 == pytest.approx(middle, abs=0.6)
  brightness = np.median([example[example > 30].mean() for example in examples])
  assert image[image > 30].mean() == pytest.approx(brightness, rel=0.15)


def test_a_dot_is_a_drawing() -> None:
  assert server_lib.rendered([[[0.2, 0.7]]]).max() > 200


@pytest.mark.slow
def test_the_command_prints_its_address_and_ends_with_ctrl_c(examples: Any) -> None:
  words = [sys.executable, '-m', 'hypertransformer', *examples('demo')[1], '--port=0']
  environment = {**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'}
  pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE}
  process = subprocess.Popen(words, text=True, cwd=ROOT, env=environment, **pipes)
  assert process.stdout is not None
  url = process.stdout.readline().strip()
  assert url.startswith('http://127.0.0.1:')
  port = url.rstrip('/').rpartition(':')[2]
  words += [f'--port={port}']
  taken = subprocess.run(words, text=True, cwd=ROOT, env=environment, check=False, **pipes)
  assert (taken.returncode, taken.stderr.count('\n')) == (2, 1), taken.stderr
  assert f'--port={port} cannot be used' in taken.stderr
  process.send_signal(signal.SIGINT)
  _, errors = process.communicate(timeout=60)
  assert (process.returncode, errors) == (130, '')
