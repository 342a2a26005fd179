"""Lays a report out as one HTML file, which asks no other host for anything and has no scripts."""

from __future__ import annotations

import html
from collections.abc import Sequence

from hypertransformer.reports.content import Table
from hypertransformer.reports.figures import Figure

# On a narrow screen every row of a table becomes a block, its cells under each other with the
# names of their columns, so that nothing has to be scrolled sideways.
STYLE = """
:root { color-scheme: light dark; --ground: #ffffff; --text: #1a1a1a; --quiet: #595959;
  --line: #d9d9d9; --raised: #f6f6f6; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #14161a; --text: #e8e8e8; --quiet: #a8a8a8; --line: #3a3d44;
    --raised: #1d2026; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 62rem; background: var(--ground);
  color: var(--text); font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; margin: 0.5rem 0; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 0.4rem; }
p.headline { font-size: 1.2rem; margin: 0.4rem 0 1rem; }
p.note, figcaption { color: var(--quiet); font-size: 0.9rem; margin: 0.3rem 0 0.8rem; }
figure { margin: 0; max-width: 36rem; }
figure svg { display: block; width: 100%; height: auto; font-family: system-ui, sans-serif; }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; overflow-wrap: normal; }
th, td { text-align: left; vertical-align: top; padding: 0.35rem 0.7rem 0.35rem 0;
  border-bottom: 1px solid var(--line); }
td, tbody th { overflow-wrap: anywhere; }
th { font-weight: 600; }
@media (max-width: 52rem) {
  table, tbody, tr, td, tbody th { display: block; width: 100%; }
  thead { display: none; }
  tr { background: var(--raised); border-radius: 0.4rem; margin: 0 0 0.7rem;
    padding: 0.4rem 0.7rem; }
  td, tbody th { border: 0; padding: 0.1rem 0; }
  td { display: flex; justify-content: space-between; gap: 1rem; }
  td::before { content: attr(data-label); color: var(--quiet); flex: 0 1 45%; }
  td span { flex: 0 1 55%; text-align: right; }
}
"""


def page(title: str, headline: str, figures: Sequence[Figure], tables: Sequence[Table]) -> str:
  """Makes the page.

  Args:
    title: its heading.
    headline: the most important sentence; '' for none.
    figures: the figures, which stand inside of the page as SVG.
    tables: the tables.
  """
  parts = [f'<h1>{html.escape(title)}</h1>']
  if headline:
    parts.append(f'<p class="headline">{html.escape(headline)}</p>')
  parts += [_figure(figure) for figure in figures]
  parts += [_table(table) for table in tables]
  return (
    '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    '<link rel="icon" href="data:,">\n'
    f'<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n'
    + '\n'.join(parts)
    + '\n</body>\n</html>\n'
  )


def _figure(figure: Figure) -> str:
  return (
    f'<h2>{html.escape(figure.title)}</h2>\n<figure>{figure.svg}'
    f'<figcaption>{html.escape(figure.caption)}</figcaption></figure>'
  )


def _table(table: Table) -> str:
  head = ''.join(f'<th scope="col">{html.escape(name)}</th>' for name in table.head)
  body = ''.join(_row(table.head, cells) for cells in table.rows)
  note = f'<p class="note">{html.escape(table.note)}</p>\n' if table.note else ''
  return (
    f'<h2>{html.escape(table.title)}</h2>\n{note}<table>\n<thead><tr>{head}</tr></thead>\n'
    f'<tbody>\n{body}</tbody>\n</table>'
  )


def _row(head: Sequence[str], cells: Sequence[str]) -> str:
  name, *others = cells
  columns = ''.join(
    f'<td data-label="{html.escape(column)}"><span>{html.escape(cell)}</span></td>'
    for column, cell in zip(head[1:], others, strict=True)
  )
  return f'<tr><th scope="row">{html.escape(name)}</th>{columns}</tr>\n'
