"""Lay a report out as text, as one HTML file without scripts, as Markdown, and as CSV."""

from __future__ import annotations

import pathlib
import shlex
import shutil
from collections.abc import Callable, Sequence

import jinja2
import markupsafe

from hypertransformer.data import files
from hypertransformer.errors import require
from hypertransformer.reports import figures, tables
from hypertransformer.reports.runs import RunGroup, group, read_runs
from hypertransformer.reports.tables import Outcome, ReportTable

COMMAND = 'python -m hypertransformer.report'


def text(folders: Sequence[str]) -> str:
  """Return the report of the runs in some directories as text for a terminal.

  Raises:
    InputError: a directory holds no run or a damaged one.
  """
  groups, outcomes = _read(folders)
  parts = [tables.headline(outcomes), *map(_text_table, tables.tables(groups, outcomes))]
  joined = '\n\n'.join(filter(None, parts))
  # Names come from files: no escape sequence of theirs may reach the terminal.
  return ''.join(letter if letter.isprintable() or letter == '\n' else '?' for letter in joined)


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
  path = pathlib.Path(output)
  form = path.suffix.lower()
  require(form in FORMS, f'--output={output} must end in {", ".join(FORMS)}.')
  contents = FORMS[form](path, folders, *_read(folders))
  for name, content in contents.items():
    with files.atomic_file(name) as file:
      file.write(content.encode())
  return list(contents)


def _read(folders: Sequence[str]) -> tuple[list[RunGroup], list[Outcome]]:
  groups = group(read_runs(folders))
  return groups, tables.outcomes(groups)


Contents = dict[pathlib.Path, str]  # the content of each file to write


def _csv(
  path: pathlib.Path, folders: Sequence[str], groups: Sequence[RunGroup], found: Sequence[Outcome]
) -> Contents:
  del folders, groups
  return {path: tables.records(found).to_csv(index=False, float_format='%.6g', lineterminator='\n')}


def _html(
  path: pathlib.Path, folders: Sequence[str], groups: Sequence[RunGroup], found: Sequence[Outcome]
) -> Contents:
  drawn = [(figure, markupsafe.Markup(figure.svg)) for figure in figures.figures(groups, found)]
  return {path: _render('page.html', folders, groups, found, drawn=drawn)}


def _markdown(
  path: pathlib.Path, folders: Sequence[str], groups: Sequence[RunGroup], found: Sequence[Outcome]
) -> Contents:
  drawn = [
    (figure, path.with_name(f'{path.stem}_{figure.name}.svg'))
    for figure in figures.figures(groups, found)
  ]
  page = _render('page.md', folders, groups, found, drawn=drawn, output=path)
  return {path: page} | {name: figure.svg_file for figure, name in drawn}


FORMS: dict[str, Callable[..., Contents]] = {'.html': _html, '.md': _markdown, '.csv': _csv}


def _render(
  template: str,
  folders: Sequence[str],
  groups: Sequence[RunGroup],
  found: Sequence[Outcome],
  drawn: Sequence[tuple[figures.ReportFigure, object]],
  output: object = '',
) -> str:
  """Fill a template beside this file; what is put into HTML is escaped."""
  environment = jinja2.Environment(
    loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
    autoescape=template.endswith('html'),
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
  )
  environment.filters['plain'] = _plain
  count = sum(len(each.runs) for each in groups)
  return environment.get_template(template).render(
    title=f'Report of {groups[0].name}' if len(groups) == 1 else f'Report of {count} runs',
    headline=tables.headline(found),
    drawn=drawn,
    tables=tables.tables(groups, found),
    command=shlex.join([*COMMAND.split(), *folders, f'--output={output}']),
  )


def _plain(value: str) -> str:
  """Escape the characters that have a meaning in Markdown."""
  return ''.join(
    f'\\{letter}' if letter in '\\|`*_<[' else letter for letter in value.replace('\n', ' ')
  )


def _text_table(table: ReportTable) -> str:
  """Return a table as text, with left-aligned cells; wide ones are continued below."""
  frame = table.frame.set_index(table.frame.columns[0]).rename_axis(None)
  widths = {name: max(len(name), *frame[name].str.len()) for name in frame}
  cells = frame.to_string(
    justify='left',
    formatters={name: f'{{:<{width}}}'.format for name, width in widths.items()},
    line_width=max(100, shutil.get_terminal_size().columns),
  )
  return '\n'.join(filter(None, [table.title, table.note, cells]))
