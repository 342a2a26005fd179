"""The rules of the rooms: which part of the package may import which, checked on the real imports.

CONTRIBUTING.md draws the picture. A rule is 'these never import those'; the imports of a module are
those in its source, also inside of functions, and everything that these import in turn.
"""

from __future__ import annotations

import ast
import functools
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = 'hypertransformer'

# (who, what is never imported by it, why)
NEVER = [
  ('settings', ('tensorflow', 'data.arrays', 'data.folder', 'converters', 'episodes', 'model',
                'runtime', 'training', 'evaluation', 'learners', 'checkpoint_conversion'),
   'settings are plain values'),
  ('data', ('converters', 'episodes', 'model', 'training', 'evaluation', 'settings'),
   'what is on disk does not depend on what is drawn from it'),
  ('converters', ('tensorflow', 'episodes', 'model', 'training', 'evaluation', 'settings'),
   'making data needs no model'),
  ('episodes', ('converters', 'model', 'runtime', 'training', 'evaluation', 'learners'),
   'data flows one way: arrays -> episode -> model'),
  ('pictures', ('tensorflow', 'settings', 'data', 'converters', 'episodes', 'model', 'runtime',
                'training', 'evaluation', 'learners', 'checkpoint_conversion'),
   'a picture is drawn from arrays alone'),
  ('model', ('data', 'converters', 'episodes', 'runtime', 'training', 'evaluation', 'learners',
             'checkpoint_conversion', 'settings.flags'),
   'the method takes tensors and configurations, never flags'),
  ('runtime', ('model', 'pictures', 'episodes', 'training', 'evaluation', 'learners',
               'checkpoint_conversion'),
   'sessions and checkpoints serve every room alike'),
  ('cluster', ('model', 'episodes', 'training', 'evaluation', 'learners', 'checkpoint_conversion',
               'reports'),
   'tasks find each other without knowing what they compute'),
  ('training', ('converters', 'evaluation', 'learners', 'checkpoint_conversion', 'reports'),
   'training only trains'),
  ('evaluation', ('converters', 'training', 'learners', 'checkpoint_conversion', 'reports'),
   'the evaluator runs beside a training, not in it'),
  ('learners', ('converters', 'training', 'evaluation', 'checkpoint_conversion', 'reports'),
   'a trained model is used without what trained it'),
  ('reports', ('converters', 'episodes', 'learners', 'training', 'checkpoint_conversion'),
   'reports read what runs have written'),
]  # fmt: skip
# Entry points alone may read FLAGS.
READS_FLAGS = {'settings.flags', 'cli', 'report'}


def module_of(path: pathlib.Path) -> str:
  parts = path.relative_to(ROOT).with_suffix('').parts
  return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


@functools.cache
def sources() -> dict[str, pathlib.Path]:
  return {module_of(path): path for path in (ROOT / PACKAGE).rglob('*.py')}


def imports_of(source: str) -> set[str]:
  """Names of modules, or of things in modules, that the source imports, but not for types only."""
  found = set()
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
      found |= {f'{node.module}.{alias.name}' for alias in node.names}
  return found


@functools.cache
def direct(module: str) -> frozenset[str]:
  """Modules of the package, and packages outside of it, that a module imports itself."""
  found = set()
  for name in imports_of(sources()[module].read_text()):
    if not name.startswith(f'{PACKAGE}.'):
      found.add(name.partition('.')[0])
    else:
      found.add(name if name in sources() else name.rpartition('.')[0])
  return frozenset(found - {module})


@functools.cache
def reached(module: str) -> frozenset[str]:
  """The same, with all that these import in turn. The package itself, which chooses kernels, is no
  room.
  """
  found: set[str] = set()
  waiting = [module]
  while waiting:
    for name in direct(waiting.pop()):
      if name not in found and name != PACKAGE:
        found.add(name)
        if name in sources():
          waiting.append(name)
  return frozenset(found)


def is_in(module: str, room: str) -> bool:
  full = f'{PACKAGE}.{room}'
  return module in (room, full) or module.startswith(f'{full}.')


def violations(room: str, never: tuple[str, ...]) -> list[str]:
  return [
    f'{module} -> {name}'
    for module in sorted(sources())
    if is_in(module, room)
    for name in sorted(reached(module))
    if any(is_in(name, other) for other in never)
  ]


@pytest.mark.parametrize(('room', 'never', 'why'), NEVER, ids=[room for room, _, _ in NEVER])
def test_a_room_never_imports(room: str, never: tuple[str, ...], why: str) -> None:
  assert violations(room, never) == [], why


def test_the_rules_speak_of_rooms_that_there_are() -> None:
  rooms = {room for room, never, _ in NEVER for room in (room, *never)} - {'tensorflow'}
  assert all(any(is_in(module, room) for module in sources()) for room in rooms)


def test_a_forbidden_import_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
  """Also one that another module makes."""
  for function in (direct, reached):
    function.cache_clear()
  path = sources()[f'{PACKAGE}.training.loop']
  monkeypatch.setitem(sources(), f'{PACKAGE}.evaluation.new', path)
  try:
    assert f'{PACKAGE}.evaluation.new -> {PACKAGE}.training.graph' in violations(
      'evaluation', ('training',)
    )
  finally:
    for function in (direct, reached):
      function.cache_clear()


def test_no_import_goes_in_a_circle() -> None:
  assert [module for module in sources() if module in reached(module)] == []


def test_only_entry_points_read_flags() -> None:
  readers = {
    module.removeprefix(f'{PACKAGE}.')
    for module, path in sources().items()
    if any(
      name.startswith('absl.flags') or name == 'absl.app' for name in imports_of(path.read_text())
    )
  }
  assert readers <= READS_FLAGS


def test_flags_are_asked_for_by_name_in_one_room_only() -> None:
  """Below the settings nobody writes values['a_flag']."""
  from hypertransformer.settings import flags

  names = {flag.name for flag in flags.ALL_FLAGS}
  found = []
  for module, path in sources().items():
    if is_in(module, 'settings'):
      continue
    for node in ast.walk(ast.parse(path.read_text())):
      if (
        isinstance(node, ast.Subscript)
        and isinstance(node.slice, ast.Constant)
        and node.slice.value in names
        and isinstance(node.value, (ast.Name, ast.Attribute))
        and 'values' in ast.unparse(node.value)
      ):
        found.append(f'{module}: {ast.unparse(node)}')
  assert found == []


def test_matplotlib_is_imported_in_one_file_when_something_is_drawn() -> None:
  """Everything else works without it."""
  users = [module for module in sources() if 'matplotlib' in direct(module)]
  assert users == [f'{PACKAGE}.reports.figures']
  tree = ast.parse(sources()[users[0]].read_text())
  at_once = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
  assert not any('matplotlib' in ast.unparse(node) for node in at_once)


def test_settings_are_imported_without_tensorflow() -> None:
  """In a process of its own: the imports above are read from the sources only."""
  code = (
    'import sys\n'
    'from hypertransformer.settings import flags, flags_file\n'
    'sys.exit("tensorflow" in sys.modules)'
  )
  done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=False)
  assert done.returncode == 0
