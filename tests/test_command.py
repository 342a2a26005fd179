"""How commands end."""

from __future__ import annotations

import pytest
from absl import app

from hypertransformer import command
from hypertransformer.errors import InputError


def end(monkeypatch: pytest.MonkeyPatch, program, argv: list[str]) -> None:
  """Runs the program as absl would, with argv after its flags are parsed."""
  monkeypatch.setattr(app, 'run', lambda main: main(['name', *argv]))
  command.run(program)


def refuse() -> None:
  raise InputError('x is 3; expected 4.')


@pytest.mark.parametrize(('argv', 'message'), [
    ([], 'error: x is 3; expected 4.\n'),
    (['a', 'b'], 'error: arguments that are no flags: a b; flags look like --name=value.\n')])
def test_bad_input_is_one_message_and_status_2(monkeypatch, capsys, argv, message):
  with pytest.raises(SystemExit) as ended:
    end(monkeypatch, refuse, argv)
  assert ended.value.code == 2
  assert capsys.readouterr().err == message


def test_other_errors_are_not_hidden(monkeypatch):
  with pytest.raises(ZeroDivisionError):
    end(monkeypatch, lambda: 1 / 0, [])


def test_a_good_end(monkeypatch, capsys):
  end(monkeypatch, lambda: print('done'), [])
  assert capsys.readouterr() == ('done\n', '')
