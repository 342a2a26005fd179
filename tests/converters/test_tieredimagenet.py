"""The tieredImageNet converter on small files that are built like the real ones."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from small_tieredimagenet import (
  DATA,
  EXPECTED,
  RELEASE,
  SIDE,
  check,
  convert,
  encode_png,
  save_compressed,
  save_npz,
  save_pngs,
  write,
)

from hypertransformer.converters import packed_images, tieredimagenet
from hypertransformer.errors import InputError


@pytest.fixture(params=[1, 7, 1000], ids=lambda images: f'blocks of {images}')
def block_images(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
  monkeypatch.setattr(packed_images, '_BLOCK_BYTES', request.param * SIDE * SIDE * 3)
  return request.param


@pytest.mark.parametrize(
  'store',
  [
    save_npz,
    save_compressed,
    save_pngs(2, lambda png: np.frombuffer(png, np.uint8)[:, np.newaxis]),
    save_pngs(5, lambda png: np.frombuffer(png, np.uint8)),
    save_pngs(4, lambda png: np.frombuffer(png, np.uint8)),
    save_pngs(2, bytes),
    save_pngs(4, bytes),
    save_pngs(5, bytearray),
  ],
  ids=[
    'stored',
    'compressed',
    'png-arrays-2',
    'png-arrays-5',
    'png-arrays-4',
    'png-bytes-2',
    'png-bytes-4',
    'png-bytearray-5',
  ],
)
def test_images_and_classes_are_converted(
  store: Callable[[pathlib.Path, np.ndarray], None], block_images: int, tmp_path: pathlib.Path
) -> None:
  write(tmp_path, store)
  counts = convert(tmp_path)
  assert counts == 'train 4 classes, 30 images; val 2 classes, 11 images; test 3 classes, 20 images'
  check(tmp_path)


def test_files_of_python_2_are_converted(
  tmp_path: pathlib.Path, python_2_pickle: Callable[[Any], bytes]
) -> None:
  for name, (images, labels) in DATA.items():
    pngs = [np.frombuffer(encode_png(image), np.uint8)[:, np.newaxis] for image in images]
    (tmp_path / f'{name}_images_png.pkl').write_bytes(python_2_pickle(pngs))
    (tmp_path / f'{name}_labels.pkl').write_bytes(
      python_2_pickle({'label_specific': labels, 'label_general': [1]})
    )
  convert(tmp_path)
  check(tmp_path)


@pytest.mark.parametrize('store', [save_npz, save_pngs(2, bytes)])
def test_colours_may_keep_their_order(
  store: Callable[[pathlib.Path, np.ndarray], None], tmp_path: pathlib.Path
) -> None:
  write(tmp_path, store)
  convert(tmp_path, bgr=False)
  check(tmp_path, [images[..., ::-1] for images in EXPECTED])


@pytest.mark.parametrize(
  'kind',
  [
    np.ndarray.tolist,
    np.asarray,
    list,
    lambda labels: labels - labels.min(),
    lambda labels: 10 * labels + 7,
    lambda labels: [f'n{label:04d}' for label in labels],
  ],
  ids=['list', 'array', 'scalars', 'from 0', 'gaps', 'names'],
)
@pytest.mark.parametrize('key', ['labels', 'label_specific'])
def test_labels_may_be_of_several_kinds(
  kind: Callable[[np.ndarray], Any], key: str, tmp_path: pathlib.Path
) -> None:
  write(tmp_path, key=key, kind=kind)
  convert(tmp_path)
  check(tmp_path)


def test_an_existing_folder_is_replaced_only_on_demand(tmp_path: pathlib.Path) -> None:
  write(tmp_path)
  out = tmp_path / 'out' / 'tieredimagenet'
  out.mkdir(parents=True)
  (out / 'images.npy').write_bytes(b'old')
  with pytest.raises(
    InputError, match=r'tieredimagenet exists already; remove it or give --overwrite'
  ):
    convert(tmp_path)
  assert (out / 'images.npy').read_bytes() == b'old'
  convert(tmp_path, overwrite=True)
  check(tmp_path)


def test_the_input_is_never_overwritten(tmp_path: pathlib.Path) -> None:
  write(tmp_path)
  before = sorted(os.listdir(tmp_path))
  with pytest.raises(InputError, match='so it is not the folder of one dataset'):
    tieredimagenet.convert(tmp_path, tmp_path, release=RELEASE, overwrite=True)
  assert sorted(os.listdir(tmp_path)) == before


def test_the_official_release_has_the_published_counts() -> None:
  assert [split.classes for split in tieredimagenet.OFFICIAL.splits] == [351, 97, 160]
  assert sum(split.images for split in tieredimagenet.OFFICIAL.splits) == 779_165
  assert tieredimagenet.OFFICIAL.side == 84
