"""Files in, answers and a CNN out: the commands predict and export."""

from __future__ import annotations

import csv
import pathlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image

DRAWINGS = pathlib.Path(__file__).resolve().parents[2] / 'examples' / 'data' / 'omniglot_unseen.npz'
NAMES = ['ape', 'bee', 'cat', 'dog', 'elk']


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
  """Has symbols/CLASS/0.png and scans/CLASS_N.png, dark ink on white, in another size and RGB."""
  with np.load(DRAWINGS) as file:
    drawings = file['images'][:5, :4, :, :, 0]
  (tmp_path / 'scans').mkdir()
  for name, images in zip(NAMES, drawings, strict=True):
    (tmp_path / 'symbols' / name).mkdir(parents=True)
    paths = [f'symbols/{name}/0.png', *(f'scans/{name}_{number}.png' for number in (1, 2, 3))]
    for path, image in zip(paths, images, strict=True):
      Image.fromarray(255 - image).resize((84, 70)).convert('RGB').save(tmp_path / path)
  return tmp_path


def run(folder: pathlib.Path, *arguments: str) -> subprocess.CompletedProcess[str]:
  return subprocess.run(
    [sys.executable, '-m', 'hypertransformer', *arguments],
    cwd=folder,
    capture_output=True,
    text=True,
    check=False,
  )


@pytest.mark.slow  # starts TensorFlow twice
def test_images_are_classified_by_a_few_labeled_ones(folder: pathlib.Path, examples: Any) -> None:
  words = *examples('predict')[0], '--invert', '--sheet=sheet.png'
  done = run(folder, *words)
  assert done.returncode == 0, done.stderr
  rows = list(csv.DictReader((folder / 'answers.csv').read_text().splitlines()))
  assert list(rows[0]) == ['file', 'class', 'probability', 'runner-up']
  assert [row['file'] for row in rows] == [f'{name}_{n}.png' for name in NAMES for n in (1, 2, 3)]
  right = [row['class'] == row['file'].partition('_')[0] for row in rows]
  assert np.mean(right) > 0.8
  assert all(0 < float(row['probability']) <= 1 for row in rows)
  with Image.open(folder / 'sheet.png') as sheet:
    assert sheet.width > 100
  again = run(folder, *words)
  assert (again.returncode, again.stdout) == (2, '')
  assert 'answers.csv exists already' in again.stderr


@pytest.mark.slow  # starts TensorFlow and Keras
def test_the_cnn_of_a_folder_is_exported(folder: pathlib.Path, examples: Any) -> None:
  done = run(folder, *examples('export')[0], '--invert')
  assert done.returncode == 0, done.stderr
  assert 'ape, bee, cat, dog, elk' in done.stdout
  assert (folder / 'cnn.tflite').stat().st_size > 10_000


@pytest.mark.slow  # starts TensorFlow twice
@pytest.mark.parametrize(
  ('arguments', 'found'),
  [
    (['predict', '--query=scans'], '--support'),
    (['predict', '--support=scans', '--query=scans'], 'scans'),
    (['export', 'omniglot_1shot', 'symbols'], '2 arguments'),
  ],
)
def test_bad_input_ends_with_one_line(
  folder: pathlib.Path, arguments: list[str], found: str
) -> None:
  done = run(folder, *arguments)
  assert done.returncode == 2
  assert found in done.stderr.splitlines()[-1]
  assert 'Traceback' not in done.stderr
