"""Generated kernels of episodes, and their figures."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pytest

from hypertransformer.errors import InputError
from hypertransformer.reports import drawing, generated, weight_figures
from hypertransformer.reports.generated import Generated


@pytest.fixture(scope='module')
def found(trained: Any, data_folder: pathlib.Path) -> Generated:
  return generated.generate(trained.folder, str(data_folder), '', 4, 0)


def test_the_kernels_of_generated_layers_differ_between_episodes(found: Generated) -> None:
  """Two of the three convolutions of this model are trained: they are not among the kernels."""
  assert list(found.shapes) == ['layer_3', 'layer_4']
  assert found.allocation == 'output'
  assert [each['layer_3'].shape for each in found.episodes] == [(2, 2, 2, 2)] * 4
  assert [each['layer_4'].shape for each in found.episodes] == [(2, 3)] * 4
  values = [each['layer_4'].tobytes() for each in found.episodes]
  assert len(set(values)) == 4


def test_the_seed_chooses_the_episodes(
  found: Generated, trained: Any, data_folder: pathlib.Path
) -> None:
  again, other = (
    generated.generate(trained.folder, str(data_folder), 'tiny:20-29', 1, seed) for seed in (0, 1)
  )
  np.testing.assert_array_equal(again.episodes[0]['layer_4'], found.episodes[0]['layer_4'])
  assert not np.array_equal(other.episodes[0]['layer_4'], found.episodes[0]['layer_4'])


def test_change_is_the_mean_change_by_the_mean_size_over_pairs() -> None:
  episodes = [{'layer_1': np.array(values)} for values in ([1.0, 3.0], [2.0, 2.0], [4.0], [5.0])]
  change = generated.changes(Generated('output', [*episodes, {'layer_1': np.array([9.0])}]))
  assert change['layer_1'][0] == pytest.approx((0.5 + 0.2) / 2)


def test_a_mosaic_has_the_inputs_below_each_other_and_the_outputs_side_by_side() -> None:
  kernel = np.arange(2 * 2 * 2 * 3, dtype=np.float32).reshape(2, 2, 2, 3)
  picture = weight_figures.mosaic(kernel)
  assert picture.shape == (2 * 3 - 1, 3 * 3 - 1)
  for row in range(2):
    for column in range(3):
      tile = picture[3 * row : 3 * row + 2, 3 * column : 3 * column + 2]
      np.testing.assert_array_equal(tile, kernel[:, :, row, column])
  assert np.isnan(picture[2]).all()
  assert np.isnan(picture[:, [2, 5]]).all()
  np.testing.assert_array_equal(weight_figures.mosaic(np.eye(3)), np.eye(3))


def test_a_layer_has_one_scale_of_colours_for_all_episodes(found: Generated) -> None:
  drawn = weight_figures.kernels({'a': found.episodes[0], 'b': found.episodes[1]}, 'title')
  shown = [axes.images[0].get_array() for axes in drawn.axes if axes.images]
  largest = max(np.abs(each['layer_3']).max() for each in found.episodes[:2])
  np.testing.assert_allclose(
    shown[2].filled(np.nan), weight_figures.mosaic(found.episodes[1]['layer_3']) / largest
  )
  assert {axes.images[0].get_clim() for axes in drawn.axes if axes.images} == {(-1, 1)}


def test_the_change_is_drawn_with_its_numbers() -> None:
  drawn = weight_figures.change({'layer_1': (0.016, 0.001), 'layer_2': (1.29, float('nan'))}, 1)
  axes = drawn.axes[0]
  assert [bar.get_height() for bar in axes.patches[:2]] == pytest.approx([1.6, 129])
  assert {'1.6 %', '129.0 %'} <= {text.get_text() for text in axes.texts}


def test_two_allocations_are_drawn_below_each_other(found: Generated) -> None:
  other = Generated('spatial', found.episodes[1:])
  drawn = weight_figures.allocations([other, found])
  labels = [axes.get_ylabel() for axes in drawn.axes if axes.get_ylabel()]
  assert [label.partition(':')[0] for label in labels] == ['spatial', 'output']


@pytest.mark.parametrize('channels', [1, 4, 16, 40])
def test_the_labels_of_layers_stay_within_the_figure_and_apart(channels: int) -> None:
  backend = pytest.importorskip('matplotlib.backends.backend_agg')
  shapes = [(3, 3, 1, channels), *[(3, 3, channels, channels)] * 3, (channels, 20)]
  made = {f'layer_{n}': np.ones(shape, np.float32) for n, shape in enumerate(shapes, start=1)}
  drawn = weight_figures.kernels({'': made}, 'title')
  backend.FigureCanvasAgg(drawn).draw()
  boxes = [axes.title.get_window_extent() for axes in drawn.axes if axes.images]
  edges = [drawn.bbox.x0, *(edge for box in boxes for edge in (box.x0, box.x1)), drawn.bbox.x1]
  assert edges == sorted(edges)


@pytest.mark.parametrize('ending', ['.png', '.svg'])
def test_a_figure_is_saved(found: Generated, tmp_path: pathlib.Path, ending: str) -> None:
  path = tmp_path / f'a{ending}'
  drawing.save(weight_figures.kernels({'': found.episodes[0]}, 'title'), path, 'x')
  assert path.read_bytes().startswith(b'\x89PNG' if ending == '.png' else b'<svg role="img"')


def test_refused_are_other_endings_and_folders(tmp_path: pathlib.Path) -> None:
  with pytest.raises(InputError, match=r'a\.jpg must end in \.png or \.svg'):
    drawing.check_output(tmp_path / 'a.jpg')
  (tmp_path / 'a.png').mkdir()
  with pytest.raises(InputError, match='is a folder'):
    drawing.check_output(tmp_path / 'a.png')
