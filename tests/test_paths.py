"""Every path that a person gives: paths of other storage are refused before anything is created."""

from __future__ import annotations

import copy
import os
import pathlib
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from absl import flags as absl_flags

import hypertransformer as ht
from hypertransformer import __main__, cli, startup
from hypertransformer.data import files
from hypertransformer.errors import InputError
from hypertransformer.learners import engine
from hypertransformer.reports import page
from hypertransformer.runtime import sessions
from hypertransformer.settings import flags

ROOT = pathlib.Path(__file__).resolve().parents[1]
URLS = ['gs://b/x', 's3://b/x', 'hdfs://h:9/x', 'file:///x']
RUN_FLAGS = [flag.name for flag in flags.ALL_FLAGS if flag.path]
# Each command line has one path, {}.
COMMANDS = [
  *(f'{command} --{name}={{}}' for command in ('train', 'evaluate') for name in RUN_FLAGS),
  'train --flagfile={}',
  'evaluate {}',
  'report {}',
  'report . --output={}.html',
  'convert omniglot --input_path={}',
  'convert omniglot --input_path=. --output_path={}',
  'convert miniimagenet --input_path={}',
  'convert miniimagenet --input_path=. --output_path={}',
  'convert tieredimagenet --input_path={}',
  'convert tieredimagenet --input_path=. --output_path={}',
  'convert images --input_path={} --output_path=x',
  'convert images --input_path=. --output_path={}',
  *(f'convert images --input_path=. --output_path=x --{name}={{}}' for name in ('csv', 'splits')),
  'convert images --pickles={} --output_path=x',
  'convert strokes --output_path={}',
  'convert checkpoint --direction=import --input_checkpoint={} --output_checkpoint=x',
  'convert checkpoint --direction=export --input_checkpoint=a --output_checkpoint={}',
  'inspect x --data_numpy_dir={}',
  'inspect x --contact_sheet={}.png',
  'plot weights {}',
  'plot weights omniglot_1shot --output={}.png',
  'plot weights omniglot_1shot --data_numpy_dir={}',
  'plot weights omniglot_1shot --images={}',
  'plot episode omniglot_1shot_v2 --data_numpy_dir={}',
  'plot episode quickstart --output={}.png',
  'predict --support={} --query=.',
  'predict --support=. --query={}',
  'predict --support=. --query=. --output={}',
  'predict --support=. --query=. --sheet={}',
  f'predict --support=. --query={ROOT / "docs"} --model={{}}',
  'export {} . cnn.npz',
  'export omniglot_1shot {} cnn.npz',
  'export omniglot_1shot . {}',
  'launch --workers=1 {}',
]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
  """Is the working directory; nothing must be made there."""
  monkeypatch.chdir(tmp_path)
  yield
  assert os.listdir() == []


@pytest.fixture
def run(
  monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[[str], tuple[Any, str]]]:
  """run(line): runs a command in this process, and returns its exit status and stderr."""
  monkeypatch.setattr(startup, 'start', lambda: None)
  monkeypatch.setattr(cli, 'import_tensorflow', lambda: None)
  monkeypatch.setattr(sessions, 'use_kernel_threads', lambda count: None)  # can be set only once
  monkeypatch.setattr(sys, 'argv', [])
  for name, value in list(vars(absl_flags.FLAGS).items()):  # each program defines its flags again
    monkeypatch.setitem(vars(absl_flags.FLAGS), name, copy.copy(value))
  for name in list(absl_flags.FLAGS):
    if not (absl_flags.FLAGS.find_module_defining_flag(name) or '').startswith('absl.'):
      delattr(absl_flags.FLAGS, name)

  def call(line: str) -> tuple[Any, str]:
    with pytest.raises(SystemExit) as ended:
      __main__.main(line.split())
    return ended.value.code, capsys.readouterr().err

  before = signal.getsignal(signal.SIGINT)
  yield call
  signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize('line', COMMANDS)
def test_commands_refuse_paths_of_other_storage(
  line: str, run: Callable[[str], tuple[Any, str]]
) -> None:
  url = URLS[COMMANDS.index(line) % len(URLS)]
  status, said = run(line.format(url))
  assert status == 2
  assert url in said.splitlines()[-1]
  assert 'not a local path' in said or 'recipe' in said


@pytest.mark.parametrize('url', URLS)
@pytest.mark.parametrize(
  'use',
  [
    engine.find,
    ht.FewShotLearner,
    ht.ContinualLearner,
    ht.evaluate,
    lambda url: ht.evaluate(files.PACKAGED / 'omniglot_1shot', data=url),
    lambda url: ht.train('quickstart', log_dir=url),
    lambda url: page.text([url]),
    lambda url: page.write(['.'], f'{url}.md'),
  ],
)
def test_functions_refuse_paths_of_other_storage(use: Callable[[str], Any], url: str) -> None:
  with pytest.raises(InputError, match=f'{url}.* is not a local path'):
    use(url)
