"""How programs end, after bad input and otherwise, and that they do not load Keras."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest
from absl import app

from hypertransformer import cli
from hypertransformer.errors import InputError


def end(monkeypatch: pytest.MonkeyPatch, program, given: list[str]) -> None:
  """Runs the program as absl would, with the arguments given after its flags are parsed."""
  monkeypatch.setattr(app, 'run', lambda main, argv: main(['name', *given]))
  cli.run(program)


def refuse() -> None:
  raise InputError('x is 3; expected 4.')


@pytest.mark.parametrize(
  ('argv', 'message'),
  [
    ([], 'error: x is 3; expected 4.\n'),
    (['a', 'b'], 'error: unexpected positional arguments: a b. Flags look like --name=value.\n'),
  ],
)
def test_bad_input_is_one_message_and_status_2(monkeypatch, capsys, argv, message):
  with pytest.raises(SystemExit) as ended:
    end(monkeypatch, refuse, argv)
  assert ended.value.code == 2
  assert capsys.readouterr().err == message


def test_other_errors_are_not_hidden(monkeypatch):
  with pytest.raises(ZeroDivisionError):
    end(monkeypatch, lambda: 1 / 0, [])


def test_a_program_that_ends_well_prints_nothing_else(monkeypatch, capsys):
  end(monkeypatch, lambda: print('done'), [])
  assert capsys.readouterr() == ('done\n', '')


@pytest.mark.parametrize(
  ('before', 'has_tf_keras', 'after'),
  [(None, False, '1'), ('0', False, '0'), (None, True, None)],
  ids=['left out', 'own setting', 'tf_keras is there'],
)
def test_keras_is_left_out_unless_the_user_wants_it(monkeypatch, before, has_tf_keras, after):
  monkeypatch.delenv('TF_USE_LEGACY_KERAS', raising=False)
  if before is not None:
    monkeypatch.setenv('TF_USE_LEGACY_KERAS', before)
  monkeypatch.setattr(importlib.util, 'find_spec', lambda name: object() if has_tf_keras else None)
  cli.leave_out_keras()
  assert os.environ.get('TF_USE_LEGACY_KERAS') == after


@pytest.mark.skipif(
  importlib.util.find_spec('tf_keras') is not None, reason='TensorFlow loads tf_keras where it is'
)
@pytest.mark.parametrize(
  ('start', 'loaded'),
  [
    ('runpy.run_module("hypertransformer.train", run_name="__main__")', False),
    ('import hypertransformer.train', True),
  ],
)
def test_programs_do_not_load_keras_but_who_imports_them_may_use_it(start, loaded):
  script = (
    'import runpy, sys; sys.argv = ["x", "--nonsense"]\n'
    f'try: {start}\nexcept SystemExit: pass\nprint("keras" in sys.modules)'
  )
  environment = {name: value for name, value in os.environ.items() if name != 'TF_USE_LEGACY_KERAS'}
  printed = subprocess.run(
    [sys.executable, '-c', script], check=True, capture_output=True, text=True, env=environment
  )
  assert printed.stdout.split()[-1] == str(loaded)


def test_programs_print_no_lines_of_tensorflow():
  environment = {k: v for k, v in os.environ.items() if k != 'TF_CPP_MIN_LOG_LEVEL'}
  done = subprocess.run(
    [sys.executable, '-m', 'hypertransformer.train', '--num_labels=0'],
    capture_output=True,
    text=True,
    check=False,
    env=environment,
  )
  assert done.returncode == 2
  assert len(done.stderr.splitlines()) == 1, done.stderr
