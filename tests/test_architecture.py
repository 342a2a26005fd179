"""The rules of the rooms: which part of the package may import which, checked on the real imports.

CONTRIBUTING.md draws the picture. A rule is 'these never import those'; the imports of a module are
those in its source, also inside of functions, and everything that these import in turn.
"""

from __future__ import annotations

import ast
import collections
import functools
import io
import pathlib
import subprocess
import sys
import tokenize

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = 'hypertransformer'
NO_CODE = {
  tokenize.COMMENT,
  tokenize.NL,
  tokenize.NEWLINE,
  tokenize.INDENT,
  tokenize.DEDENT,
  tokenize.ENDMARKER,
}

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
# The most code lines (without docstrings, comments and blank lines) that a room may have: its size
# plus 10 % slack. A room that outgrows its budget needs a simpler idea, not a larger budget.
BUDGETS = {
  'checkpoint_conversion': 490,
  'cluster': 260,
  'commands': 760,
  'converters': 1030,
  'data': 1290,
  'demo': 260,
  'episodes': 680,
  'evaluation': 925,
  'learners': 940,
  'model': 1400,
  'pictures': 570,
  'reports': 790,
  'runtime': 430,
  'settings': 930,
  'training': 1130,
  '': 560,
}
MOST_FILES, FEWEST_LINES = 15, 25
# Entry points alone may read FLAGS.
READS_FLAGS = {'settings.flags', 'settings.recipes', 'cli', 'report', 'commands', 'demo'}


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


def code_lines(path: pathlib.Path) -> int:
  """Return the number of lines that hold code."""
  text = path.read_text()
  docstrings: set[int] = set()
  for node in ast.walk(ast.parse(text)):
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node):
      docstrings |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
  lines: set[int] = set()
  for token in tokenize.generate_tokens(io.StringIO(text).readline):
    if token.type not in NO_CODE:
      lines |= set(range(token.start[0], token.end[0] + 1))
  return len(lines - docstrings)


def files_of(room: str) -> list[pathlib.Path]:
  return sorted((ROOT / PACKAGE / room).glob('*.py'))


def test_every_room_has_a_budget() -> None:
  rooms = {path.parent.name for path in (ROOT / PACKAGE).glob('*/__init__.py')}
  assert rooms == set(BUDGETS) - {''}


@pytest.mark.parametrize('room', BUDGETS)
def test_a_room_keeps_its_budget(room: str) -> None:
  sizes = {path.name: code_lines(path) for path in files_of(room)}
  print(f'{room or "programs"}: {sum(sizes.values())} of {BUDGETS[room]} code lines')
  assert sum(sizes.values()) <= BUDGETS[room]
  assert len(sizes) <= MOST_FILES
  if room not in ('', 'commands'):  # a command may be short
    assert [name for name, size in sizes.items() if size < FEWEST_LINES] == ['__init__.py']


def test_no_public_class_name_occurs_twice() -> None:
  names = collections.Counter(
    node.name
    for path in sources().values()
    for node in ast.parse(path.read_text()).body
    if isinstance(node, ast.ClassDef) and not node.name.startswith('_')
  )
  assert [name for name, count in names.items() if count > 1] == []


def test_a_flag_is_declared_in_one_place() -> None:
  """No room but the settings lists flags; what a flag affects is said in its declaration."""
  from hypertransformer.settings import flags

  names = [flag.name for flag in flags.ALL_FLAGS]
  assert len(names) == len(set(names))
  found = []
  for module, path in sources().items():
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, (ast.List, ast.Tuple, ast.Set)) and not is_in(module, 'settings'):
        values = {each.value for each in node.elts if isinstance(each, ast.Constant)}
        if len(values & set(names)) > 2:
          found.append(f'{module}: {ast.unparse(node)}')
  assert found == []


def test_only_entry_points_read_flags() -> None:
  readers = [
    module
    for module, path in sources().items()
    if any(
      name.startswith('absl.flags') or name == 'absl.app' for name in imports_of(path.read_text())
    )
  ]
  assert [name for name in readers if not any(is_in(name, room) for room in READS_FLAGS)] == []


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
