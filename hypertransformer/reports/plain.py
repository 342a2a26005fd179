"""Lays a report out as Markdown, with its figures as files beside it, and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from hypertransformer.reports.content import Table
from hypertransformer.reports.figures import Figure

_SOURCE = 'Drawn by `python -m hypertransformer.report`; the whole command is below the figures.'


def markdown(
  title: str,
  headline: str,
  figures: Sequence[tuple[Figure, str]],
  tables: Sequence[Table],
  command: str,
) -> str:
  """Makes the text of a Markdown file.

  Args:
    title: its heading.
    headline: the most important sentence; '' for none.
    figures: each figure with the name of its file.
    tables: the tables.
    command: the command that made the report, which stands under the figures.
  """
  parts = [f'# {_text(title)}']
  if headline:
    parts.append(_text(headline))
  for figure, name in figures:
    parts += [f'## {figure.title}', f'![{figure.title}]({name})', figure.caption, _SOURCE]
  parts += ['Made by', f'```\n{command}\n```']
  for table in tables:
    lines = [_line(table.head), '|' + '---|' * len(table.head), *map(_line, table.rows)]
    parts += [f'## {table.title}', *filter(None, [table.note]), '\n'.join(lines)]
  return '\n\n'.join(parts) + '\n'


def _line(cells: Sequence[str]) -> str:
  return '| ' + ' | '.join(map(_text, cells)) + ' |'


def _text(text: str) -> str:
  """A text in which no letter has a meaning in Markdown, as far as names and flags have such."""
  for letter in '\\|`*_<':
    text = text.replace(letter, f'\\{letter}')
  return text.replace('\n', ' ')


def comma_separated(records: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
  """Makes the text of a CSV file with these columns."""
  buffer = io.StringIO()
  table = csv.DictWriter(buffer, columns, lineterminator='\n')
  table.writeheader()
  table.writerows(records)
  return buffer.getvalue()
