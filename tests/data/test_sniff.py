"""Web pages, empty files and unreadable files and folders in place of data."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import pytest

from hypertransformer.data import files
from hypertransformer.errors import InputError


@pytest.mark.parametrize(
  'head',
  [
    b'<!DOCTYPE html><title>404',
    b'\n  <html>',
    b'\xef\xbb\xbf<HTML lang="en">',
    b'<?xml version="1.0"?>',
    b'<head>',
    b'<!-- moved -->',
  ],
)
def test_a_web_page_is_recognised(head: bytes) -> None:
  assert files.is_web_page(head)


@pytest.mark.parametrize('head', [b'', b'\x93NUMPY', b'PK\x03\x04', b'<', b'a <html>'])
def test_other_files_are_no_web_pages(head: bytes) -> None:
  assert not files.is_web_page(head)


@pytest.mark.parametrize(
  ('data', 'found'),
  [
    (b'<html>', 'is a web page, not a pickle; the download link probably led to'),
    (b'', 'is an empty file; expected a pickle; download or make it again'),
  ],
)
def test_pages_and_empty_files_are_refused(data: bytes, found: str, tmp_path: pathlib.Path) -> None:
  (tmp_path / 'x').write_bytes(data)
  with pytest.raises(InputError, match=f'x {found}'):
    files.refuse_page_or_empty(tmp_path / 'x', 'a pickle')


def test_a_missing_file_is_refused(tmp_path: pathlib.Path) -> None:
  with pytest.raises(InputError, match=r'x cannot be read \(No such file.*\); expected a pickle'):
    files.refuse_page_or_empty(tmp_path / 'x', 'a pickle')


POINTER = b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n'


def test_a_pointer_of_git_lfs_is_refused(tmp_path: pathlib.Path) -> None:
  (tmp_path / 'x').write_bytes(POINTER)
  with pytest.raises(
    InputError, match=r'x is a pointer of Git LFS, not a pickle: .*; run `git lfs pull` in its'
  ):
    files.refuse_page_or_empty(tmp_path / 'x', 'a pickle')
  assert not files.is_pointer(b'version 2 of my data')


def test_a_folder_is_no_file(tmp_path: pathlib.Path) -> None:
  with pytest.raises(
    InputError,
    match=r'cannot be read \(Is a directory\); expected a pickle, not a folder: give the',
  ):
    files.refuse_page_or_empty(tmp_path, 'a pickle')


@pytest.mark.parametrize('name', ['x' * 300, 'a\0b'])
@pytest.mark.parametrize(
  'check', [lambda path: files.refuse_page_or_empty(path, 'a pickle'), files.require_folder]
)
def test_names_that_no_file_can_have_are_refused(
  name: str, check: Callable[[pathlib.Path], None], tmp_path: pathlib.Path
) -> None:
  with pytest.raises(
    InputError, match=r'cannot be read (as a folder )?\((the name is too long|emb)'
  ):
    check(tmp_path / name)


def test_any_other_file_is_let_through(tmp_path: pathlib.Path) -> None:
  (tmp_path / 'x').write_bytes(b'data')
  files.refuse_page_or_empty(tmp_path / 'x', 'a pickle')


def test_only_a_folder_is_a_folder(tmp_path: pathlib.Path) -> None:
  files.require_folder(tmp_path)
  (tmp_path / 'x').write_bytes(b'data')
  with pytest.raises(InputError, match=r'x cannot be read as a folder \(Not a directory\)'):
    files.require_folder(tmp_path / 'x')
