"""How programs end, after bad input and otherwise, and that they do not load Keras."""

from __future__ import annotations

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest
from absl import app

from hypertransformer import cli
from hypertransformer.errors import InputError


def end(monkeypatch: pytest.MonkeyPatch, program, given: list[str]) -> None:
  """Runs the program as absl would, with the arguments given after its flags are parsed."""
  monkeypatch.setattr(app, 'run', lambda main, **_: main(['name', *given]))
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


@pytest.mark.parametrize(
  ('raised', 'status', 'message'),
  [
    (OSError(28, 'No space left on device', 'a/b'), 2, "28] No space left on device: 'a/b'"),
    (FileNotFoundError(2, 'No usable temporary directory'), 2, 'temporary directory'),
    (BrokenPipeError(), 1, ''),
    (KeyboardInterrupt(), 130, ''),
  ],
)
def test_what_the_system_does_ends_in_a_line_or_a_status(
  monkeypatch, capsys, raised, status, message
):
  def fail():
    raise raised

  with pytest.raises(SystemExit) as ended:
    end(monkeypatch, fail, [])
  assert ended.value.code == status
  printed = capsys.readouterr().err
  assert message in printed
  assert printed.count('\n') == bool(message)


@pytest.mark.parametrize(
  ('command', 'status', 'message'),
  [
    ('-m hypertransformer.report --outpt=x', 2, '--outpt. Did you mean --output?'),
    ('-m hypertransformer.report --output', 2, 'output'),
    ('utils/cache_image_folder.py --image_size=0 --output_path=x', 2, '--image_size=0: 0 is not'),
    ('utils/cache_image_folder.py --crop=round --output_path=x', 2, 'squash|center'),
    ('utils/plot_weights.py --figure=none', 2, '--figure=none'),
    ('-m hypertransformer.report --help >/dev/full', 2, 'No space left'),
    ('-m hypertransformer.report --help >&-', 2, 'Bad file descriptor'),
    ('-m hypertransformer.report 2>&-', 2, ''),
    ('-m hypertransformer.report 2>/dev/full', 2, ''),
    ('-m hypertransformer.report --help 2>&-', 0, ''),
  ],
)
def test_flags_and_streams_end_in_one_line_and_a_status(command, status, message):
  done = subprocess.run(
    f'exec {sys.executable} {command}', shell=True, check=False, capture_output=True, text=True,
    cwd=pathlib.Path(__file__).parents[1],
  )  # fmt: skip
  assert (done.returncode, message in done.stderr) == (status, True), done.stderr
  assert done.stderr.count('\n') == bool(message)


@pytest.mark.parametrize('program', ['-m hypertransformer.train', 'utils/inspect_data.py'])
@pytest.mark.parametrize('slow', ['numpy', 'hypertransformer.cli', 'tensorflow'])
def test_ctrl_c_during_imports_is_status_130(program, slow, tmp_path):
  """Also where the program never imports the module that interrupts it: that test is skipped."""
  (tmp_path / 'sitecustomize.py').write_text(
    'import os, signal, sys\n'
    'class Finder:\n'
    '  @staticmethod\n'
    '  def find_spec(name, *_):\n'
    f'    if name == {slow!r}: print("here", flush=True); os.kill(os.getpid(), signal.SIGINT)\n'
    'sys.meta_path.insert(0, Finder)\n'
  )
  root = pathlib.Path(__file__).parents[1]
  done = subprocess.run(
    [sys.executable, *program.split()], check=False, capture_output=True, text=True, cwd=root,
    env=os.environ | {'PYTHONPATH': f'{root}:{tmp_path}'},
  )  # fmt: skip
  if 'here' not in done.stdout:
    pytest.skip(f'{program} does not import {slow}')
  assert (done.returncode, done.stderr) == (130, '')


def test_the_filter_of_log_lines_never_fails(monkeypatch):
  monkeypatch.setattr(os, 'dup', lambda number: (_ for _ in ()).throw(OSError(24, 'Too many')))
  with cli._discarded_stderr():
    os.write(2, b'')


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
