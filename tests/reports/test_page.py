"""The report as text, as a page, as Markdown and as CSV, and its figures."""

from __future__ import annotations

import csv
import json
import pathlib
import re
import warnings as python_warnings

import numpy as np
import pytest

from hypertransformer.errors import InputError
from hypertransformer.reports import figures, page, runs, tables
from hypertransformer.reports.figures import ReportFigure
from hypertransformer.reports.runs import Curve

from .conftest import Make, per_class, result, sequence


def written(folders: list[pathlib.Path], output: pathlib.Path) -> str:
  paths = page.write([str(folder) for folder in folders], str(output))
  assert paths[0] == output
  return output.read_text()


def figures_of(*folders: pathlib.Path) -> dict[str, ReportFigure]:
  groups = runs.group(runs.read_runs([str(folder) for folder in folders]))
  return {figure.name: figure for figure in figures.figures(groups, tables.outcomes(groups))}


def test_the_page_holds_figures_and_numbers_and_asks_no_host(
  three_runs: list[pathlib.Path], tmp_path: pathlib.Path
) -> None:
  text = written(three_runs, tmp_path / 'report.html')
  assert text.count('<svg') == text.count('</svg>') == 2
  assert re.findall(r'<(?:script|img|iframe|object)|@import|url\((?!#)', text) == []
  assert re.findall(r'(?:href|src)="(?!#|data:)', text) == []
  assert '80.0 ± 0.5 % on test tasks (fast &lt;b&gt;&amp;)' in text
  assert '<b>' not in text
  for each in ('72.0, 74.0', '87.2', '--learning_rate', '50.0', 'not recorded'):
    assert each in text
  for element in re.findall(r'<svg.*?</svg>', text, re.DOTALL):
    assert 'currentColor' in element
    assert 'aria-label' in element
  assert written(three_runs, tmp_path / 'again.html') == text


def test_markdown_has_its_figures_beside_it(
  three_runs: list[pathlib.Path], tmp_path: pathlib.Path
) -> None:
  text = written(three_runs, tmp_path / 'out' / 'report.md')
  names = re.findall(r'!\[.*?\]\((.*?)\)', text)
  assert names == ['report_curve_test_episodes.svg', 'report_curve_training_episodes.svg']
  for name in names:
    assert 'prefers-color-scheme:dark' in (tmp_path / 'out' / name).read_text()
  assert '| base | test (omniglot:1200-1622) | 72.0, 74.0 | 71.0, 73.0 | 87.2 |' in text
  assert 'python -m hypertransformer.report' in text
  assert r'fast \<b\>\&' in text


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


def test_the_text_has_the_tables_and_no_escape_sequences(make_run: Make) -> None:
  lines = [result('test', 10, 0.75) | {'preset': '\x1b[31mtest'}]
  folder = make_run('a', 1, lines, records=0)
  assert figures_of(folder) == {}
  change = {'step': 7, 'flags': {'optimizer': ['adam', 'sgd']}, 'classes': {'test_dataset': {}}}
  content = json.loads((folder / 'flags.json').read_text())
  (folder / 'flags.json').write_text(json.dumps({**content, 'history': [change]}))
  text = page.text([str(folder)])
  assert 'changed at step 7: optimizer adam -> sgd, the data of --test_dataset' in ' '.join(
    text.split()
  )
  assert '\x1b' not in text
  assert '75.0 ± 0.5' in text
  assert 'The runs' in text


@pytest.mark.parametrize('ending', ['html', 'md'])
def test_names_from_files_are_no_markup(
  make_run: Make, tmp_path: pathlib.Path, ending: str
) -> None:
  name = '<img src=x>![a](b) `c` $d$ \x1b[31m'
  by_class = per_class(name, 'cat')
  by_class['per_class']['pairs'] |= {'predicted': [99], 'available': [0], 'tasks': [0]}
  lines = [result('test', 10, 0.75, **by_class) | {'preset': name}, sequence()]
  folder = make_run('a', 1, lines)
  output = tmp_path / f'report.{ending}'
  with python_warnings.catch_warnings():
    python_warnings.simplefilter('error')
    made = [path.read_text() for path in page.write([str(folder)], str(output))]
  assert '<img src' not in ''.join(made).replace(r'\<img', '')
  assert '\x1b' not in ''.join(made)
  assert ending == 'html' or r'\!\[a\](b) \`c\` \$d\$' in made[0]


def test_an_unknown_ending_is_refused_before_anything_is_read() -> None:
  with pytest.raises(InputError, match=r'report\.pdf'):
    page.write(['nowhere'], 'report.pdf')


def test_every_name_is_in_the_legend(make_run: Make) -> None:
  folders = [make_run(f'_run {n} $x$', 1, [], learning_rate=n / 100) for n in range(8)]
  svg = figures_of(*folders)['curve_test_episodes'].svg
  assert all(f'_run {n} $x$' in svg for n in range(8))


def test_sequences_have_a_figure_of_their_own(make_run: Make) -> None:
  (figure,) = figures_of(make_run('a', 1, [sequence()], records=0)).values()
  (line,) = figure.drawn.axes[0].lines
  assert line.get_xydata().tolist() == [[1, 90], [2, 75]]


def test_few_classes_have_a_matrix_of_confusions(make_run: Make) -> None:
  """Its colours are the rates; the other pairs but the diagonal have a cross."""
  lines = [result('test', 10, 0.5, **per_class('a', 'b', 'c')), result('val', 10, 0.5)]
  (figure,) = figures_of(make_run('a', 1, lines, records=0)).values()
  axes = figure.drawn.axes[0]
  rates = axes.collections[0].get_array()
  assert rates.filled(0).tolist() == [[0, 90, 0], [0, 0, 89], [0, 0, 0]]
  (crosses,) = axes.lines
  assert crosses.get_xydata().tolist() == [[2.5, 0.5], [0.5, 1.5], [0.5, 2.5], [1.5, 2.5]]
  assert [label.get_text() for label in axes.get_yticklabels()] == ['10 a', '11 b', '12 c']
  many = result('test', 10, 0.5, **per_class(*'a' * 31))
  assert figures_of(make_run('b', 1, [many], records=0)) == {}


def test_a_group_goes_as_far_as_its_shortest_run_that_has_a_window(make_run: Make) -> None:
  folders = [make_run(f'a_{seed}', seed, [], records) for seed, records in ((1, 200), (2, 1))]
  figure = figures_of(*folders)['curve_test_episodes']
  assert 'shortest run' in figure.caption
  (line,) = figure.drawn.axes[0].lines
  assert line.get_xdata()[-1] == pytest.approx(19.75)


def test_the_band_goes_from_the_worst_to_the_best_seed(three_runs: list[pathlib.Path]) -> None:
  figure = figures_of(*three_runs)['curve_test_episodes']
  band = figure.drawn.axes[0].collections[0].get_paths()[0].get_extents()
  assert (band.y0, band.y1) == pytest.approx((1, 20))


def test_the_window_is_a_round_number_of_steps() -> None:
  for last, between, window in ((20_000, 100, 500), (4_000_000, 100, 100_000), (6, 2, 2)):
    steps = np.arange(between, last + 1, between)
    assert figures.window_for([Curve(steps, np.zeros(len(steps)))]) == window


def test_a_curve_of_a_single_record_is_drawn(make_run: Make, tmp_path: pathlib.Path) -> None:
  folder = make_run('a', 1, records=0)
  (folder / runs.CURVES).write_text(f'{runs.STEPS_COLUMN},test episodes\n5,1\n')
  assert '<svg' in written([folder], tmp_path / 'report.html')
