"""Lists the folders and files of a tree of images from strangers.

Leftovers of systems are passed over, and links are followed, also those that lead out of the tree:
whoever owns the folder made them, only images are read through them, and nothing is ever written
there. What was passed over, and the links that lead out, are told when all has been listed.
"""

from __future__ import annotations

import os
import pathlib
import unicodedata

from absl import logging

from hypertransformer.converters import class_names, leftovers, signatures
from hypertransformer.errors import InputError


class ImageTree:
  """A folder with images in it, and what was found on the way through it.

  Attributes:
    root: the folder.
    passed: the paths of the files and folders that were passed over.
  """

  def __init__(self, root: pathlib.Path) -> None:
    """Keeps the folder; nothing is read yet.

    Raises:
      InputError: it is a file.
    """
    if root.is_file():
      signatures.refuse_other_file(root, 'a folder of images')
      raise InputError(f'{root} is a file; expected a folder of images: correct --input_path')
    self.root = root
    self.passed: list[str] = []
    self._real_root = os.path.realpath(root)
    self._outside: list[str] = []
    self._places: set[str] = set()
    self._listed: dict[str, tuple[list[str], list[str]]] = {}

  def entries(self, folder: str | pathlib.Path) -> tuple[list[str], list[str]]:
    """Lists the folders and files in a folder, as paths in the natural order of their names.

    Raises:
      InputError: the folder cannot be read, or a link in it leads nowhere or back to a folder
        above it.
    """
    folder = os.fspath(folder)
    if folder not in self._listed:
      self._listed[folder] = self._read(folder)
    return self._listed[folder]

  def _read(self, folder: str) -> tuple[list[str], list[str]]:
    folders, files = [], []
    try:
      with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: class_names.natural_key(entry.name))
    except OSError as error:
      raise InputError(
        f'the folder {folder} cannot be read ({error.strerror}); expected images by class'
      ) from error
    for entry in entries:
      is_folder = os.path.isdir(entry.path)
      if leftovers.is_leftover(entry.name, not is_folder):
        self.passed.append(entry.path)
        continue
      if entry.is_symlink():
        self._check_link(entry.path)
      if is_folder:
        folders.append(entry.path)
      elif os.path.isfile(entry.path):
        files.append(entry.path)
    return folders, files

  def _check_link(self, link: str) -> None:
    """Remembers a link that leads out of the tree; refuses one that leads nowhere or back."""
    if not os.path.exists(link):
      raise InputError(f'{link} is a broken link, or one in a circle; remove it')
    target = os.path.realpath(link)
    if _contains(target, os.path.realpath(os.path.dirname(link))):
      raise InputError(f'{link} is a link that leads back to a folder above it; remove it')
    if not _contains(self._real_root, target):
      self._outside.append(link)

  def _check_place(self, path: str) -> None:
    """Remembers a file that is reached by a link out of the tree, or lies in a folder that is."""
    if os.path.islink(path):
      self._check_link(path)
    folder = os.path.dirname(path)
    if folder not in self._places:
      self._places.add(folder)
      if not _contains(self._real_root, os.path.realpath(folder)):
        self._outside.append(folder)

  def folders_named(self, name: str) -> list[str]:
    """Returns the folders under the root that have this name in any spelling.

    Args:
      name: the path of a class folder, as `class_names.canonical` spells it.
    """
    found = [os.fspath(self.root)]
    for part in name.split('/'):
      found = [
        folder
        for above in found
        for folder in self.entries(above)[0]
        if class_names.canonical(os.path.basename(folder)) == part
      ]
    return found

  def file_named(self, name: str) -> str | None:
    """Returns the path of the image file that a list calls by `name`, or None if there is none.

    If no file has exactly this name, it is looked for without the blanks around it and, part by
    part, in the other forms of Unicode.

    Args:
      name: its path, relative to the root; see `relative`.
    """
    for tried in dict.fromkeys((name, name.strip())):
      path = os.path.join(self.root, tried)
      if os.path.isfile(path):
        self._check_place(path)
        return path
    return self._in_other_form(unicodedata.normalize('NFC', name.strip()))

  def _in_other_form(self, name: str) -> str | None:
    found = os.fspath(self.root)
    if name.isascii() or not os.path.isdir(found):
      return None
    *folders, file = name.split('/')
    for part in folders:
      matching = [path for path in self.entries(found)[0] if _composed_name(path) == part]
      if not matching:
        return None
      found = matching[0]
    return next((path for path in self.entries(found)[1] if _composed_name(path) == file), None)

  def relative(self, name: str, where: str) -> str:
    """Returns what a list calls ./a//b.jpg as the plain path below the root, a/b.jpg.

    Args:
      name: a path relative to the root, or an absolute one that lies in it.
      where: the place in the list, for errors.

    Raises:
      InputError: the path leads out of the root.
    """
    plain = os.path.normpath(name)
    if os.path.isabs(plain):
      for root in (os.path.abspath(self.root), self._real_root):
        if _contains(root, plain):
          plain = os.path.relpath(plain, root)
          break
    if os.path.isabs(plain) or plain.split(os.sep)[0] == '..':
      raise InputError(
        f'{where}: {class_names.shown(name)!r} leads outside --input_path ({self.root}); expected '
        'a name relative to it, or an absolute path in it'
      )
    return plain

  def report(self) -> None:
    """Logs a warning about what was passed over, and one about links that lead out of the tree."""
    leftovers.report(self.root, self.passed)
    if self._outside:
      logging.warning(
        '%s: %d links lead out of the folder and are followed (%s, ...)',
        self.root,
        len(self._outside),
        self._outside[0],
      )


def _composed_name(path: str) -> str:
  """Returns the name of a file or folder in the composed form of Unicode."""
  return unicodedata.normalize('NFC', os.path.basename(path))


def _contains(folder: str, path: str) -> bool:
  """Tells whether a path is a folder or lies in it; both are absolute."""
  return os.path.commonpath([folder, path]) == folder
