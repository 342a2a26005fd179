"""The server of the demo page with the packaged model."""

from __future__ import annotations

import pathlib
import sys
import threading
from collections.abc import Iterator

import pytest

from hypertransformer.demo import server as server_lib
from hypertransformer.learners import FewShotLearner

sys.path.insert(0, str(pathlib.Path(__file__).parent))  # for chromium.py


@pytest.fixture(scope='module')
def server() -> Iterator[server_lib.Server]:
  with (
    FewShotLearner.pretrained(server_lib.MODEL) as learner,
    server_lib.Server(server_lib.Demo(learner)) as server,
  ):
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
