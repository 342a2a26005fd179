"""Lay a report out as text, as one HTML file without scripts, as Markdown, and as CSV."""

from __future__ import annotations

import pathlib
import re
import shlex
import shutil
import textwrap
from collections.abc import Sequence

import jinja2

from hypertransformer.data import files
from hypertransformer.errors import require
from hypertransformer.reports import figures, tables
from hypertransformer.reports.runs import RunGroup, group, read_runs
from hypertransformer.reports.tables import Outcome, ReportTable

COMMAND = 'python -m hypertransformer.report'
ENDINGS = '.html', '.md', '.csv'


def text(folders: Sequence[str]) -> str:
  """Return the report of the runs in some directories as text for a terminal.

  Raises:
    InputError: a directory holds no run or a damaged one.
  """
  groups, outcomes = _read(folders)
  parts = [tables.headline(outcomes), *map(_text_table, tables.tables(groups, outcomes))]
  return _printable('\n\n'.join(filter(None, parts)))


def _printable(content: str) -> str:
  """Replace characters of names from files that act on a terminal or are invalid in a page."""
  return ''.join(letter if letter.isprintable() or letter == '\n' else '?' for letter in content)


def write(folders: Sequence[str], output: str) -> list[pathlib.Path]:
  """Write the report of the runs in some directories. Existing files are replaced.

  Args:
    folders: the --train_log_dir of each run.
    output: the file to write. A Markdown report also gets files NAME_FIGURE.svg beside it.

  Returns:
    The files that were written.

  Raises:
    InputError: a directory holds no run or a damaged one, the name of the file has an unknown
      ending, or a file cannot be written.
  """
  path = files.expanded(output)
  form = path.suffix.lower()
  require(form in ENDINGS, f'--output={output} must end in {", ".join(ENDINGS)}.')
  groups, found = _read(folders)
  if form == '.csv':
    numbers = tables.records(found)
    contents = {path: numbers.to_csv(index=False, float_format='%.6g', lineterminator='\n')}
  else:
    drawn = [
      (figure, path.with_name(f'{path.stem}_{figure.name}.svg'))
      for figure in figures.figures(groups, found)
    ]
    count = sum(len(each.runs) for each in groups)
    contents = {
      path: _template(f'page{form}').render(
        title=f'Report of {groups[0].name}' if len(groups) == 1 else f'Report of {count} runs',
        headline=tables.headline(found),
        drawn=drawn,
        tables=tables.tables(groups, found),
        command=shlex.join([*COMMAND.split(), *folders, f'--output={output}']),
      )
    }
    if form == '.md':
      contents |= {name: figure.svg_file for figure, name in drawn}
  for name, content in contents.items():
    with files.atomic_file(name) as file:
      file.write(_printable(content).encode())
  return list(contents)


def _read(folders: Sequence[str]) -> tuple[list[RunGroup], list[Outcome]]:
  groups = group(read_runs(folders))
  return groups, tables.outcomes(groups)


def _template(name: str) -> jinja2.Template:
  """Return the template of this name, which lies beside this file; what fills HTML is escaped."""
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
    autoescape=name.endswith('html'),
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
  )
  environment.filters['plain'] = _plain
  return environment.get_template(name)


def _plain(value: str) -> str:
  """Escape the characters that have a meaning in Markdown."""
  return re.sub(r'([\\|`*_<>[\]&$~#!])', r'\\\1', value.replace('\n', ' '))


def _text_table(table: ReportTable) -> str:
  """Return a table as text, with left-aligned cells; wide ones are continued below."""
  frame = table.frame.set_index(table.frame.columns[0]).rename_axis(None)
  width = max(100, shutil.get_terminal_size().columns)
  widths = {name: max(len(name), *frame[name].str.len()) for name in frame}
  cells = frame.to_string(
    justify='left',
    formatters={name: f'{{:<{letters}}}'.format for name, letters in widths.items()},
    line_width=width,
  )
  return '\n'.join(filter(None, [table.title, textwrap.fill(table.note, width), cells]))
