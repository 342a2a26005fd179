"""The report as a page, as Markdown and as CSV."""

from __future__ import annotations

import csv
import html.parser
import importlib.util
import os
import pathlib
import re
from collections.abc import Callable

import pytest

from hypertransformer.errors import InputError
from hypertransformer.reports import drawing, figures, groups, summary, writing
from hypertransformer.reports.runs import read_runs

from .conftest import CONTINUAL, result

Make = Callable[..., pathlib.Path]


class Reader(html.parser.HTMLParser):
  """Collects the tags of a page, and checks that they are closed in order."""

  VOID = ('meta', 'link', 'br', 'path', 'use', 'image', 'rect', 'circle')

  def __init__(self, text: str) -> None:
    super().__init__()
    self.tags: list[tuple[str, dict]] = []
    self._open: list[str] = []
    self.feed(text)
    assert self._open == []

  def handle_starttag(self, tag: str, attributes: list) -> None:
    self.tags.append((tag, dict(attributes)))
    if tag not in self.VOID:
      self._open.append(tag)

  def handle_startendtag(self, tag: str, attributes: list) -> None:
    self.tags.append((tag, dict(attributes)))

  def handle_endtag(self, tag: str) -> None:
    if tag not in self.VOID:
      assert self._open.pop() == tag


def written(folders: list[pathlib.Path], output: pathlib.Path, form: str = '') -> str:
  paths = writing.write([str(folder) for folder in folders], str(output), form)
  assert paths[0] == output
  return output.read_text()


def test_the_page_holds_figures_and_numbers_and_asks_nobody(
  three_runs: list[pathlib.Path], tmp_path: pathlib.Path
) -> None:
  text = written(three_runs, tmp_path / 'report.html')
  tags = Reader(text).tags
  assert [tag for tag, _ in tags].count('svg') == 3
  assert not {'script', 'img', 'iframe', 'object'} & {tag for tag, _ in tags}
  addresses = [
    attributes[name]
    for _, attributes in tags
    for name in ('href', 'src', 'xlink:href')
    if name in attributes
  ]
  assert all(address.startswith(('#', 'data:')) for address in addresses)
  assert re.findall(r'url\((?!#)', text) == []
  assert '@import' not in text
  assert '80.0 ± 0.5 % on test tasks (fast &lt;b&gt;&amp;)' in text
  assert '73.0 ± 12.7' in text
  assert '87.2' in text
  assert '<b>' not in text
  assert '--learning_rate' in text
  assert '50.0' in text
  assert 'not recorded' in text  # the machine


def test_svg_takes_the_colour_of_the_text_around_it(
  three_runs: list[pathlib.Path], tmp_path: pathlib.Path
) -> None:
  text = written(three_runs, tmp_path / 'report.html')
  for element in re.findall(r'<svg.*?</svg>', text, re.DOTALL):
    assert 'currentColor' in element
    assert drawing.INK not in element
    assert not re.search(r'fill: (#ffffff|white)', element)
    assert 'aria-label' in element


def test_the_same_runs_give_the_same_file(
  three_runs: list[pathlib.Path], tmp_path: pathlib.Path
) -> None:
  first = written(three_runs, tmp_path / 'a.html')
  assert written(three_runs, tmp_path / 'b.html') == first


def test_markdown_has_its_figures_beside_it(
  three_runs: list[pathlib.Path], tmp_path: pathlib.Path
) -> None:
  text = written(three_runs, tmp_path / 'out' / 'report.md')
  names = re.findall(r'!\[.*?\]\((.*?)\)', text)
  assert names == [
    'report_accuracy.svg',
    'report_curve_test_episodes.svg',
    'report_curve_training_episodes.svg',
  ]
  for name in names:
    assert 'prefers-color-scheme:dark' in (tmp_path / 'out' / name).read_text()
  assert '| base | test (omniglot:1200-1622) | 73.0 ± 12.7 | 72.0 ± 12.7 | 87.2 |' in text
  assert 'python -m hypertransformer.report' in text
  tables = re.findall(r'(?:^\|.*\|\n)+', text, re.MULTILINE)
  for table in tables:
    columns = [len(re.findall(r'(?<!\\)\|', line)) for line in table.splitlines()]
    assert len(set(columns)) == 1


def test_csv_has_a_row_for_each_run_and_for_each_mean(
  three_runs: list[pathlib.Path], tmp_path: pathlib.Path
) -> None:
  rows = list(csv.DictReader(written(three_runs, tmp_path / 'report.csv').splitlines()))
  tests = [row for row in rows if row['preset'] == 'test']
  assert [(row['group'], row['run'], row['runs'], row['interval_over']) for row in tests] == [
    ('base', 'base', '2', 'seeds'),
    ('base', 'base_seed1', '1', 'tasks'),
    ('base', 'base_seed2', '1', 'tasks'),
    ('fast <b>&', 'fast <b>&', '1', 'tasks'),
  ]
  assert [float(row['accuracy']) for row in tests] == pytest.approx([0.73, 0.72, 0.74, 0.8])
  assert {row['paper'] for row in tests} == {'0.872'}


@pytest.mark.parametrize('results', [True, False])
def test_half_a_run_has_half_a_report(
  make_run: Make, tmp_path: pathlib.Path, results: bool
) -> None:
  lines = [result('test', 2000, 0.7)] if results else []
  folder = make_run('a', None, lines, records=0 if results else 1)
  text = written([folder], tmp_path / 'report.html')
  assert text.count('<svg') == (1 if results else 2)
  assert ('What was reached' in text) == results


def test_many_groups_have_a_panel_each(make_run: Make) -> None:
  folders = [str(make_run(f'_run {n}', 1, [], learning_rate=n / 100)) for n in range(1, 9)]
  found = groups.group(read_runs(folders))
  (first, _) = figures.figures(found, summary.rows(found))
  assert 'Every panel shows one group' in first.caption
  shown = [axes for axes in first.drawn.axes if axes.get_visible()]
  assert [axes.get_title(loc='left') for axes in shown] == [f'_run {n}' for n in range(1, 9)]


def test_a_name_that_begins_with_an_underscore_is_in_the_legend(make_run: Make) -> None:
  folders = [str(make_run(f'_run {n} $x$', 1, [], learning_rate=n / 100)) for n in (1, 2)]
  found = groups.group(read_runs(folders))
  svg = figures.figures(found, [])[0].svg
  assert '_run 1 $x$' in svg
  assert '_run 2 $x$' in svg


def test_sequences_have_a_figure_of_their_own(make_run: Make) -> None:
  folder = make_run('a', 1, [result('test', 10, 0.75, continual=CONTINUAL)], records=0)
  found = groups.group(read_runs([str(folder)]))
  (figure,) = figures.figures(found, summary.rows(found))
  (line,) = figure.drawn.axes[0].lines
  assert line.get_xydata().tolist() == [[1, 90], [2, 75]]


def test_a_group_with_a_run_that_has_only_begun_is_shown(make_run: Make) -> None:
  folders = [str(make_run(f'a_{seed}', seed, [], records)) for seed, records in ((1, 200), (2, 1))]
  found = groups.group(read_runs(folders))
  figure = next(f for f in figures.figures(found, []) if f.name == 'curve_test_episodes')
  assert 'runs that have only begun are left out' in figure.caption
  (line,) = figure.drawn.axes[0].lines
  assert line.get_xdata()[-1] == pytest.approx(19.75)


def test_the_band_goes_from_the_worst_to_the_best_seed(three_runs: list[pathlib.Path]) -> None:
  found = groups.group(read_runs([str(folder) for folder in three_runs]))
  figure = next(f for f in figures.figures(found, []) if f.name == 'curve_test_episodes')
  band = figure.drawn.axes[0].collections[0].get_paths()[0].get_extents()
  assert (band.y0, band.y1) == pytest.approx((1, 20))


def test_refused_are_other_endings_and_folders(
  three_runs: list[pathlib.Path], tmp_path: pathlib.Path
) -> None:
  folders = [str(folder) for folder in three_runs]
  with pytest.raises(InputError, match=r'report\.pdf must end in \.html, \.md or \.csv'):
    writing.write(folders, str(tmp_path / 'report.pdf'))
  with pytest.raises(InputError, match='is a folder'):
    writing.write(folders, str(tmp_path), 'html')
  assert written(three_runs, tmp_path / 'report', 'csv').startswith('group,run,')


def test_without_matplotlib_the_extra_is_named_and_csv_works(
  three_runs: list[pathlib.Path], tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  find = importlib.util.find_spec
  monkeypatch.setattr(
    importlib.util, 'find_spec', lambda name: None if name == 'matplotlib' else find(name)
  )
  for name in ('a.html', 'a.md'):
    with pytest.raises(InputError, match=r'pip install "\.\[report\]"'):
      writing.write([str(three_runs[0])], str(tmp_path / name))
  assert written(three_runs[:1], tmp_path / 'a.csv')
  assert not [name for name in os.listdir(tmp_path) if name.endswith(('.html', '.md', '.part'))]
