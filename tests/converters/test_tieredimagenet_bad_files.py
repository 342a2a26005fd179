"""What the tieredImageNet converter says about files that are missing, broken or wrong."""

from __future__ import annotations

import os
import pathlib
import pickle
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from small_tieredimagenet import RELEASE, Change, assert_refused, changed, convert, replaced, write

from hypertransformer.converters import tieredimagenet
from hypertransformer.errors import InputError


def _relabel(content: Any) -> Change:
  """Replaces what the label file of the split val holds."""
  return lambda root: (root / 'val_labels.pkl').write_bytes(pickle.dumps(content, 2))


@pytest.mark.parametrize(
  ('change', 'found'),
  [
    (_relabel({'labels': [0] * 11}), r'val_labels\.pkl holds 1 classes; expected 2'),
    (_relabel({'labels': list(range(11))}), r'val_labels\.pkl holds 11 classes; expected 2'),
    (
      _relabel({'labels': [0, 1] * 5}),
      r"val_images\.npz: 'images' is uint8 \[11, 5, 5, 3\]; expected uint8 "
      r'\[10, 5, 5, 3\], an image for each label',
    ),
    (_relabel({'labels': [0.5] * 11}), r"val_labels\.pkl: 'labels' are not of one kind"),
    (
      _relabel({'labels': np.zeros((11, 2), int)}),
      r"val_labels\.pkl: 'labels' is int64 \[11, 2\]; expected a list",
    ),
    (
      _relabel({'label_general': [1]}),
      r"val_labels\.pkl holds a dict of 'label_general'; expected 'labels' or",
    ),
    (_relabel([1, 2]), r"val_labels\.pkl holds a list; expected a dict with 'labels'"),
    (
      lambda root: (root / 'val_labels.pkl').unlink(),
      r'val_labels\.pkl is not there; expected \{train,val,test\}_lab',
    ),
    (
      lambda root: (root / 'val_images.npz').unlink(),
      r'neither .*val_images\.npz nor .*val_images_png\.pkl is there; expected the images of '
      r'val_labels\.pkl',
    ),
    (replaced(b'<html>sign in', 'val_labels.pkl'), r'val_labels\.pkl is a web page, not a pickle'),
    (changed(lambda data: data[:-9], 'val_labels.pkl'), r'val_labels\.pkl is not a whole pickle'),
  ],
)
def test_bad_labels_and_missing_files_are_refused(
  change: Change, found: str, tmp_path: pathlib.Path
) -> None:
  assert_refused(tmp_path, change, found)


def test_a_class_in_two_splits_is_an_error(tmp_path: pathlib.Path) -> None:
  write(tmp_path, kind=lambda labels: [f'n{label}' for label in labels])
  names = [' n0', 'val'] * 5 + ['val']  # n0 is of train
  (tmp_path / 'val_labels.pkl').write_bytes(pickle.dumps({'labels': names}, 2))
  with pytest.raises(InputError, match="the class 'n0' is in two splits, train and val"):
    convert(tmp_path)
  assert not (tmp_path / 'out').exists()


@pytest.fixture
def as_nobody() -> Iterator[None]:
  """Lets the test run as a user without rights, because root may read every file."""
  if os.geteuid() != 0:
    yield
    return
  os.seteuid(65534)
  yield
  os.seteuid(0)


@pytest.fixture
def entered_by_all() -> Iterator[pathlib.Path]:
  """A folder that everyone may enter, as may not be the case with tmp_path."""
  with tempfile.TemporaryDirectory() as folder:
    os.chmod(folder, 0o755)
    yield pathlib.Path(folder)


@pytest.fixture
def unreadable_file(entered_by_all: pathlib.Path) -> pathlib.Path:
  write(entered_by_all)
  (entered_by_all / 'val_images.npz').chmod(0)
  return entered_by_all


@pytest.fixture
def unreadable_folder(entered_by_all: pathlib.Path) -> pathlib.Path:
  folder = entered_by_all / 'in'
  folder.mkdir(mode=0)
  return folder


def test_a_file_that_may_not_be_read_is_an_error(
  unreadable_file: pathlib.Path, as_nobody: None
) -> None:
  with pytest.raises(
    InputError,
    match=r'(?i)val_images\.npz cannot be read \(permission denied.*\); expected a NumPy',
  ):
    convert(unreadable_file)


def test_a_folder_that_may_not_be_read_is_an_error(
  unreadable_folder: pathlib.Path, entered_by_all: pathlib.Path, as_nobody: None
) -> None:
  with pytest.raises(
    InputError,
    match=r'(?i)in cannot be read as a folder \(permission denied.*\); correct --input_path',
  ):
    tieredimagenet.convert(unreadable_folder, entered_by_all / 'out', release=RELEASE)


def test_a_missing_folder_is_an_error(tmp_path: pathlib.Path) -> None:
  with pytest.raises(
    InputError, match=r'in cannot be read as a folder \(No such file or directory\)'
  ):
    tieredimagenet.convert(tmp_path / 'in', tmp_path / 'out', release=RELEASE)
