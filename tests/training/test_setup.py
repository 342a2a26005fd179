"""What is refused before a training graph is built."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.errors import InputError
from hypertransformer.settings import flags
from hypertransformer.training.setup import Setup, check, setup_from


def no_graph(setup: Setup, seed: int = 1) -> None:
  """Checks a setup with an empty graph as default, which must stay empty."""
  with tf.Graph().as_default() as graph:
    try:
      check(setup, seed)
    finally:
      assert graph.get_operations() == []


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    (
      {'train_dataset': 'tiny:0-1'},
      r"dataset 'tiny' is used with 2 classes, but an episode needs num_labels=3",
    ),
    (
      {'test_dataset': 'tiny:0-1'},
      r"dataset 'tiny' is used with 2 classes, but an episode needs num_labels=3",
    ),
    ({'samples_cnn': 27}, r'class 0 has 8 samples, but an episode needs 9 per class'),
    ({'image_size': 4, 'kernel_size': 3}, r'image_size is too small for cnn_model_name=3-layer'),
    (
      {'number_of_trained_cnn_layers': 4},
      r'number_of_trained_cnn_layers is 4, but the CNN has 3 convolutions',
    ),
  ],
)
def test_what_does_not_go_together_is_refused(
  setup_of: Callable[..., Setup], changes: dict[str, Any], message: str
) -> None:
  with pytest.raises(InputError, match=message):
    no_graph(setup_of(**changes))


def test_a_negative_seed_is_refused(setup_of: Callable[..., Setup]) -> None:
  with pytest.raises(InputError, match='seed is -5; it must be 0 or more'):
    no_graph(setup_of(), seed=-5)


def test_train_and_test_set_must_have_the_same_channels(
  make_values: Callable[..., Any], tmp_path: pathlib.Path, tiny: np.ndarray
) -> None:
  np.save(tmp_path / 'tiny.npy', tiny)
  np.save(tmp_path / 'coloured.npy', np.repeat(tiny, 3, axis=-1))
  setup = setup_from(
    flags.settings_from(make_values(data_numpy_dir=str(tmp_path), test_dataset='coloured:0-9'))
  )
  with pytest.raises(
    InputError, match=r"train_dataset 'tiny' has 1 channels, test_dataset 'coloured' has 3"
  ):
    no_graph(setup)
