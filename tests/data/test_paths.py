"""Paths that people give: `~`, NUL characters, names that no system can have."""

from __future__ import annotations

import pathlib

import pytest

from hypertransformer.data import files
from hypertransformer.errors import InputError


def test_the_home_folder_is_put_in(monkeypatch: pytest.MonkeyPatch) -> None:
  monkeypatch.setenv('HOME', '/home/me')
  assert files.expanded('~/data') == pathlib.Path('/home/me/data')
  assert files.expanded(pathlib.Path('~')) == pathlib.Path('/home/me')
  assert files.expanded('a~b/~') == pathlib.Path('a~b/~')
  assert files.expanded_text('') == ''
  assert files.expanded_text('~/a/') == '/home/me/a/'
  assert files.expanded('~nobody-of-this-name/x') == pathlib.Path('~nobody-of-this-name/x')


def test_a_nul_character_is_refused() -> None:
  with pytest.raises(InputError, match=r'the path a\\x00b holds a NUL character'):
    files.expanded('a\0b')


def test_what_is_there_is_told(tmp_path: pathlib.Path) -> None:
  (tmp_path / 'file').write_text('')
  assert files.is_file(tmp_path / 'file')
  assert not files.is_folder(tmp_path / 'file')
  assert files.is_folder(tmp_path)
  assert not files.exists(tmp_path / 'none')
  assert not files.is_file(tmp_path / 'file' / 'below')


@pytest.mark.parametrize('ask', [files.is_file, files.is_folder, files.exists])
def test_where_the_system_cannot_say_there_is_one_error(ask, tmp_path: pathlib.Path) -> None:  # type: ignore[no-untyped-def]
  with pytest.raises(InputError, match=r'cannot be looked for \(the name is too long'):
    ask(tmp_path / ('x' * 300))
  with pytest.raises(InputError, match=r'a\\x00b cannot be looked for'):
    ask(tmp_path / 'a\0b')
  (tmp_path / 'round').symlink_to(tmp_path / 'round')
  with pytest.raises(InputError, match='its links lead in a circle'):
    ask(tmp_path / 'round')


def test_a_right_that_is_missing_is_named() -> None:
  assert files.reason(PermissionError(13, 'Permission denied')) == 'Permission denied'


def test_a_path_is_shown_on_one_short_line() -> None:
  assert files.shown('a\nb') == r'a\nb'
  assert files.shown('ä/ß') == 'ä/ß'
  long = files.shown('x' * 5000 + '/end')
  assert long.startswith('...')
  assert long.endswith('/end')
  assert len(long) == 120
