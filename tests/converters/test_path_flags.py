"""Paths in flags: ~ is expanded, and what no file can be called is one error."""

from __future__ import annotations

import pathlib

import pytest

from hypertransformer.converters import class_files, image_folder, path_flags
from hypertransformer.errors import InputError


def test_the_home_folder_is_expanded(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.setenv('HOME', str(tmp_path))
  assert path_flags.given('~/a/b', 'x') == tmp_path / 'a' / 'b'
  assert path_flags.given('~', 'x') == tmp_path
  assert path_flags.given('a/b~', 'x') == pathlib.Path('a/b~')
  assert class_files.output_file('~/a.npy', 'b.npy') == tmp_path / 'a.npy'
  assert class_files.output_file('~', 'b.npy') == tmp_path / 'b.npy'
  assert image_folder.output_path('~/new') == tmp_path / 'new'


@pytest.mark.parametrize(
  ('text', 'found'),
  [
    ('a/~/b', r"--x=a/~/b has a folder '~'; ~ means a home folder only at the start"),
    ('~nobody_of_this_name/b', "has a folder '~nobody_of_this_name'"),
    ('a\0b', r'--x=a\\x00b has a NUL character'),
    ('/tmp/' + 'x' * 300, r'--x=/tmp/x.* cannot be used as a path \(File name too long\)'),
    ('x/' * 5000, 'cannot be used as a path'),
    ('', '--x is not given'),
  ],
)
def test_other_paths_are_one_error(text: str, found: str) -> None:
  with pytest.raises(InputError, match=found) as caught:
    path_flags.given(text, 'x')
  assert len(str(caught.value)) < 300
