"""Makes the report of runs and writes it, whole or not at all."""

from __future__ import annotations

import pathlib
import shlex
from collections.abc import Sequence

from hypertransformer.data import files
from hypertransformer.errors import InputError, require
from hypertransformer.reports import content, drawing, figures, page, plain, summary
from hypertransformer.reports.groups import Group, group
from hypertransformer.reports.runs import read_runs

FORMATS = {'.html': 'html', '.htm': 'html', '.md': 'md', '.csv': 'csv'}
COMMAND = 'python -m hypertransformer.report'


def write(folders: Sequence[str], output: str, form: str = '') -> list[pathlib.Path]:
  """Writes the report of the runs in some folders. Older files of the same names are replaced.

  Args:
    folders: the --train_log_dir of each run.
    output: the file to write. A Markdown report also has files NAME_FIGURE.svg beside it.
    form: 'html', 'md' or 'csv'; '' for what the ending of `output` says.

  Returns:
    The files that were written.

  Raises:
    InputError: a folder holds no run or a damaged one, the format is not known, matplotlib is
      needed and not installed, or a file cannot be written.
  """
  path = pathlib.Path(output)
  form = form or form_of(path)
  require(not path.is_dir(), f'--output={path} is a folder; give the name of a file.')
  if form != 'csv':
    drawing.require_matplotlib()
  groups = group(read_runs(folders))
  rows = summary.rows(groups)
  if form == 'csv':
    return [_put(path, plain.comma_separated(content.records(groups, rows), content.COLUMNS))]
  drawn = figures.figures(groups, rows)
  title = _title(groups)
  tables = content.tables(groups, rows)
  if form == 'html':
    return [_put(path, page.page(title, content.headline(rows), drawn, tables))]
  beside = [(each, path.with_name(f'{path.stem}_{each.name}.svg')) for each in drawn]
  written = [_put(name, drawing.svg_file(each.drawn, each.title)) for each, name in beside]
  command = shlex.join([*COMMAND.split(), *folders, f'--output={output}'])
  named = [(each, name.name) for each, name in beside]
  text = plain.markdown(title, content.headline(rows), named, tables, command)
  return [_put(path, text), *written]


def form_of(path: pathlib.Path) -> str:
  """The format that the ending of a file stands for. Raises InputError for another ending."""
  try:
    return FORMATS[path.suffix.lower()]
  except KeyError:
    raise InputError(
      f'--output={path} must end in .html, .md or .csv, or give --format=html, md or csv.'
    ) from None


def _title(groups: Sequence[Group]) -> str:
  count = sum(len(each.runs) for each in groups)
  return f'Report of {groups[0].name}' if len(groups) == 1 else f'Report of {count} runs'


def _put(path: pathlib.Path, text: str | bytes) -> pathlib.Path:
  with files.atomic_file(path) as file:
    file.write(text if isinstance(text, bytes) else text.encode())
  return path
