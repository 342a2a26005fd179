"""Attention is drawn for every head, sorted by class."""

from __future__ import annotations

import numpy as np
import pytest

from hypertransformer.pictures import attention as attention_lib
from hypertransformer.pictures import canvas

RNG = np.random.default_rng(3)


def test_attention_is_sorted_by_class() -> None:
  labels = np.array([1, 0, 1, 0])
  block = np.zeros((1, 2, 4))
  block[0, :, [1, 3]] = 1.0  # on the samples of class 0
  picture = attention_lib.draw([block], labels)
  dark = np.argwhere((picture == canvas.sequential(np.array(1.0))).all(axis=-1))
  own = dark[dark[:, 0] < dark[:, 0].min() + 10]  # not those of the colour bar
  assert own[:, 1].max() < 2 * 24, 'they are the two columns at the left'


@pytest.mark.parametrize(('heads', 'tokens', 'samples'), [(1, 1, 1), (8, 9, 100), (3, 64, 300)])
def test_attention_of_every_size_is_drawn(heads: int, tokens: int, samples: int) -> None:
  attention = [RNG.uniform(size=(heads, tokens, samples)) for _ in range(2)]
  for each in (attention, [0 * attention[0]]):
    picture = attention_lib.draw(each, np.arange(samples) % 5)
    assert (picture.dtype, picture.shape[1] <= canvas.WIDTH) == (np.uint8, True)
