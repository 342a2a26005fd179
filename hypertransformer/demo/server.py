"""Serve a page on which symbols are drawn, learned from one drawing each, and recognized.

  hypertransformer demo
  hypertransformer demo --port=8000 --nobrowser

The page is served to this machine only, and it sends no request to any other host. Ctrl-C ends the
server.
"""

from __future__ import annotations

import base64
import http
import http.server
import json
import pathlib
import string
import sys
import threading
import webbrowser
from typing import Any

from absl import flags

from hypertransformer import cli

if __name__ == '__main__':
  cli.import_tensorflow()

import numpy as np
import tensorflow.compat.v1 as tf
from PIL import Image, ImageDraw, ImageFilter

from hypertransformer.errors import InputError, require
from hypertransformer.learners import FewShotLearner
from hypertransformer.pictures import attention, canvas, kernels

FLAGS = flags.FLAGS
flags.DEFINE_integer(
  'port', 0, 'Port of the page; 0 is any free one.', lower_bound=0, upper_bound=65535
)
flags.DEFINE_boolean('browser', True, 'Whether to open the page in a browser.')

ADDRESS = '127.0.0.1'
PAGE = pathlib.Path(__file__).with_name('page.html')
MODEL = 'omniglot_1shot'
MOST_BYTES, MOST_POINTS = 1_000_000, 20_000  # of a request, of a drawing
SECONDS = 30  # for a request to arrive
HEADERS = {
  'Content-Security-Policy': "default-src 'none'; connect-src 'self'; img-src data:; "
  "script-src 'unsafe-inline'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
  "frame-ancestors 'none'",
  'Cache-Control': 'no-store',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
}
# Omniglot's drawings have 105 x 105 pixels and a brush of 5 x 5. In 90 % of them the longer side,
# without the brush, is in this range, and the middle is at most SHIFT from that of the image.
SIDE, BRUSH, SHORTEST, LONGEST, SHIFT = 105, 5, 40, 85, 9
# The task before the first one: a plus sign, a triangle and a Z.
FIRST = [
  [[[0.5, 0], [0.5, 1]], [[0, 0.5], [1, 0.5]]],
  [[[0.5, 0], [1, 1], [0, 1], [0.5, 0]]],
  [[[0, 0], [1, 0], [0, 1], [1, 1]]],
]


def rendered(drawing: Any) -> np.ndarray:
  """Render strokes the way the drawings of Omniglot were made.

  A drawing of unusual size or position is scaled and moved as little as it takes to be usual.

  Args:
    drawing: A list of strokes, which are lists of points [x, y], in 0..1 from the top left corner.

  Returns:
    uint8 [28, 28], bright ink on black.

  Raises:
    InputError: It is no such list, it is empty, or it has too many points.
  """
  try:
    strokes = [np.array(stroke, np.float64).reshape(-1, 2) for stroke in drawing if stroke]
    points = np.concatenate(strokes)
  except (TypeError, ValueError) as error:
    message = 'A drawing is empty or malformed. Send a list of strokes [[x, y], ...].'
    raise InputError(message) from error
  require(
    len(points) <= MOST_POINTS and bool(((points >= 0) & (points <= 1)).all()),
    f'A drawing has {len(points)} points or coordinates outside of 0..1. Send at most '
    f'{MOST_POINTS} points in 0..1.',
  )
  low, high = points.min(axis=0), points.max(axis=0)
  longer = max(*(high - low)) * SIDE
  scale = SIDE * np.clip(longer, SHORTEST, LONGEST) / longer if longer else SIDE
  middle = (low + high) / 2
  moved = SIDE // 2 + np.clip((middle - 0.5) * SIDE, -SHIFT, SHIFT)
  image = Image.new('L', (SIDE, SIDE))
  for stroke in strokes:
    pixels = np.round((stroke - middle) * scale + moved).astype(int)
    ImageDraw.Draw(image).line([*map(tuple, pixels), tuple(pixels[-1])], fill=255)
  inked = image.filter(ImageFilter.MaxFilter(BRUSH))
  return np.asarray(inked.resize((28, 28), Image.Resampling.LANCZOS))


def _data_url(picture: np.ndarray) -> str:
  return f'data:image/png;base64,{base64.b64encode(canvas.png(picture)).decode()}'


def _layer(
  name: str, kernel: np.ndarray, before: np.ndarray, attended: list[np.ndarray], symbols: np.ndarray
) -> dict[str, Any]:
  """Draw the kernels of a layer and those of the task before, on one scale, and the attention."""
  largest = max(np.abs(kernel).max(), np.abs(before).max())
  title = name.replace('_', ' ')
  return {
    'name': title,
    'shape': ' x '.join(map(str, kernel.shape)),
    'change': kernels.relative_change(kernel, before),
    'kernels': _data_url(kernels.mosaic(kernel / largest)),
    'before': _data_url(kernels.mosaic(before / largest)),
    'attention': _data_url(attention.draw(attended, symbols, title)),
  }


class Demo:
  """What the page asks for. It holds one task at a time, and serves one request after the other."""

  def __init__(self, learner: FewShotLearner) -> None:
    """Take a learner, and learn a first task, with which the first one of the page is compared."""
    self._learner = learner
    self._lock = threading.Lock()
    self._task = 0
    self._kernels: dict[str, np.ndarray] = {}
    self.learn({'drawings': FIRST})

  def learn(self, request: dict[str, Any]) -> dict[str, Any]:
    """Learn the symbols of one task.

    Args:
      request: `drawings` has one drawing of each symbol; see `rendered`.

    Returns:
      The number of the `task`; for each of the generated `layers` pictures of its kernels, of those
      of the task before, and of the attention of its generator.

    Raises:
      InputError: There are too few or too many drawings, or one of them is invalid.
    """
    drawings = request.get('drawings')
    most = self._learner.num_labels
    if not isinstance(drawings, list) or not 2 <= len(drawings) <= most:
      raise InputError(f'Draw 2 to {most} symbols, one example of each.')
    images = np.stack([rendered(drawing) for drawing in drawings])
    names = np.array(list(string.ascii_uppercase[: len(drawings)]))
    with self._lock:
      self._learner.fit(images, names)
      self._task += 1
      weights = self._learner.weights()
      attended = self._learner.attention(images, names)
      found = {name.partition('/')[0]: value for name, value in weights.items() if 'kernel' in name}
      before, self._kernels = self._kernels, found
      return {
        'task': self._task,
        'layers': [
          _layer(layer, kernel, before.get(layer, kernel), attended[layer], names)
          for layer, kernel in found.items()
        ],
      }

  def predict(self, request: dict[str, Any]) -> dict[str, Any]:
    """Predict the symbol of a drawing.

    Args:
      request: The `drawing`, and the number of its `task`.

    Returns:
      The `probabilities` of the symbols in the order of their drawings, and a picture of the
      drawing as it is `seen` by the model.

    Raises:
      InputError: The drawing is invalid, or the task is not the latest one.
    """
    image = rendered(request.get('drawing'))
    with self._lock:
      require(
        type(request.get('task')) is int and request['task'] == self._task,
        'Another task was learned in the meantime, maybe in another tab. Press Learn again.',
      )
      probabilities = self._learner.predict_proba(image[None])[0]
    return {
      'probabilities': probabilities.tolist(),
      'seen': _data_url(canvas.pixels(image[..., None])),
    }


class Handler(http.server.BaseHTTPRequestHandler):
  """Answers the requests of the page in JSON, and refuses those of other sites."""

  server: Server
  timeout = SECONDS

  def do_GET(self) -> None:
    """Send the page."""
    if not self._refused({'/': None}):
      self._send(http.HTTPStatus.OK, 'text/html; charset=utf-8', PAGE.read_bytes())

  def do_POST(self) -> None:
    """Learn or predict."""
    demo = self.server.demo
    actions = {'/learn': demo.learn, '/predict': demo.predict}
    length = self.headers.get('Content-Length', '')
    if self._refused(actions):
      return
    if not (length.isascii() and length.isdecimal()):
      self.send_error(http.HTTPStatus.LENGTH_REQUIRED, 'Send a Content-Length.')
    elif int(length) > MOST_BYTES:
      self.send_error(
        http.HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f'The request has {length} bytes. Send at most {MOST_BYTES}.',
      )
    else:
      try:
        request = json.loads(self.rfile.read(int(length)))
        require(isinstance(request, dict), 'The request is no JSON object.')
        answer = actions[self.path](request)
      except (ValueError, RecursionError) as error:  # InputError, and all of json's and Unicode's
        text = str(error) if isinstance(error, InputError) else f'The request is no JSON: {error}.'
        self.send_error(http.HTTPStatus.BAD_REQUEST, text)
      else:
        self._send(http.HTTPStatus.OK, 'application/json', json.dumps(answer).encode())

  def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
    """Send an error as JSON; the base class calls this too."""
    del explain
    text = message or http.HTTPStatus(code).phrase
    self._send(code, 'application/json', json.dumps({'error': text}).encode())

  def log_message(self, format: str, *args: Any) -> None:
    """Log nothing."""

  def _refused(self, paths: Any) -> bool:
    """Refuse a request for another path or by another site; a name that means us is one, too."""
    port = self.server.server_port
    hosts = [f'{name}:{port}' for name in (ADDRESS, 'localhost')]
    host, origin = self.headers.get('Host'), self.headers.get('Origin')
    if host not in hosts or origin not in (None, f'http://{host}'):
      self.send_error(http.HTTPStatus.FORBIDDEN, f'Open the page as http://{hosts[0]}/.')
    elif self.path not in paths:
      self.send_error(http.HTTPStatus.NOT_FOUND, f'There is no {self.path}.')
    else:
      return False
    return True

  def _send(self, status: int, kind: str, body: bytes) -> None:
    self.send_response(status)
    for name, value in (HEADERS | {'Content-Type': kind, 'Content-Length': str(len(body))}).items():
      self.send_header(name, value)
    self.end_headers()
    if self.command != 'HEAD':
      self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
  """The server of the page, on the loopback address."""

  def __init__(self, demo: Demo, port: int = 0) -> None:
    """Listen on a port, 0 for any free one; raises InputError if it cannot be used."""
    self.demo = demo
    try:
      super().__init__((ADDRESS, port), Handler)
    except OSError as error:
      raise InputError(
        f'--port={port} cannot be used: {error}. Use another, or 0 for any.'
      ) from error

  @property
  def url(self) -> str:
    """The address of the page."""
    return f'http://{ADDRESS}:{self.server_port}/'

  def handle_error(self, request: Any, client_address: Any) -> None:
    """Ignore clients that are gone."""
    if not isinstance(sys.exc_info()[1], OSError):
      super().handle_error(request, client_address)


def run() -> None:
  """Serve the page until Ctrl-C."""
  tf.logging.set_verbosity(tf.logging.ERROR)  # the line of a restored checkpoint
  with FewShotLearner.pretrained(MODEL) as learner, Server(Demo(learner), FLAGS.port) as server:
    print(f'{server.url}\nCtrl-C ends the demo.', flush=True)
    if FLAGS.browser:
      webbrowser.open(server.url)
    server.serve_forever()


if __name__ == '__main__':
  cli.run(run)
