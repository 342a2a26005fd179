"""What TensorBoard reads: event files, images, text cards, hyperparameters and layouts."""

from __future__ import annotations

import io
import pathlib
import re
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

from hypertransformer.errors import InputError
from hypertransformer.runtime import tensorboard
from hypertransformer.settings import flags


def test_each_summary_is_written_at_once(
  tmp_path: pathlib.Path, read_events: Callable[[pathlib.Path], Any]
) -> None:
  writer = tensorboard.EventWriter(tmp_path / 'eval')
  for step in (1, 2):
    writer.add_summary(tensorboard.scalar_summary({'a': float(step)}), step)
    assert read_events(tmp_path / 'eval').scalars == {'a': {n: n for n in range(1, step + 1)}}
  (path,) = (tmp_path / 'eval').iterdir()
  first = next(tf.train.summary_iterator(str(path)))
  assert first.file_version == 'brain.Event:2'


def test_steps_that_are_done_again_are_shown_once(tmp_path: pathlib.Path) -> None:
  """The first process was killed after step 3, and the checkpoint is that of step 1."""
  for resumed, steps in ((None, (1, 2, 3)), (1, (2,))):
    writer = tensorboard.EventWriter(tmp_path, resumed=resumed)
    for step in steps:
      writer.add_summary(tensorboard.scalar_summary({'a': float(step)}), step)
    writer.close()
  events = EventAccumulator(str(tmp_path))
  events.Reload()
  assert [event.step for event in events.Scalars('a')] == [1, 2]


def test_a_full_disk_is_bad_input(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
  class Full:
    def __init__(self, path: str) -> None:
      pass

    def write(self, record: bytes) -> None:
      raise tf.errors.ResourceExhaustedError(None, None, 'No space left on device')

  monkeypatch.setattr(tf.io, 'TFRecordWriter', Full)
  writer = tensorboard.EventWriter(tmp_path)
  with pytest.raises(InputError, match=rf'{tmp_path} \(No space left on device'):
    writer.add_summary(tf.Summary(), 1)


def test_an_event_file_is_not_written_through_a_link(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.setattr(time, 'time', lambda: 1.0)
  tensorboard.EventWriter(tmp_path).add_summary(tf.Summary(), 1)
  (path,) = tmp_path.iterdir()
  path.unlink()
  path.symlink_to(tmp_path / 'other')
  with pytest.raises(InputError, match='File exists'):
    tensorboard.EventWriter(tmp_path).add_summary(tf.Summary(), 1)
  assert not (tmp_path / 'other').exists()


def test_an_image_summary_is_the_picture_as_png() -> None:
  picture = np.random.default_rng(0).integers(0, 255, (7, 9, 3)).astype(np.uint8)
  summary = tensorboard.image_summary({'a/b': picture, 'c': 255 - picture})
  assert [value.tag for value in summary.value] == ['a/b', 'c']
  image = summary.value[0].image
  assert (image.height, image.width) == (7, 9)
  with Image.open(io.BytesIO(image.encoded_image_string)) as decoded:
    assert decoded.format == 'PNG'
    np.testing.assert_array_equal(np.asarray(decoded), picture)


def text_of(summary: tf.Summary) -> str:
  (value,) = summary.value
  assert value.metadata.plugin_data.plugin_name == 'text'
  return value.tensor.string_val[0].decode()


def test_hyperparameters_are_the_flags_that_make_a_model_better_or_worse() -> None:
  values = flags.defaults() | {'seed': 7, 'balanced_batches': True, 'train_dataset': 'omniglot:0-9'}
  (value,) = tensorboard.hparams(values | {'hypertransformer_version': '9'}, '/logs/mine').value
  assert value.metadata.plugin_data.plugin_name == 'hparams'
  data = plugin_data_pb2.HParamsPluginData.FromString(value.metadata.plugin_data.content)
  info = data.session_start_info
  assert info.group_name == '/logs/mine'
  assert info.hparams['seed'].number_value == 7
  assert info.hparams['train_dataset'].string_value == 'omniglot:0-9'
  absent = {'data_numpy_dir', 'train_log_dir', 'num_task_evals', 'value_dim', 'eval_once'}
  assert set(info.hparams) <= set(flags.defaults()) - absent


def test_the_card_of_flags_has_those_first_that_are_set() -> None:
  values = flags.defaults() | {'heads': 3, 'eval_datasets': 'a|b=x', 'seed': 1}
  rows = text_of(tensorboard.flags_page(values)).splitlines()[2:]
  assert set(rows[:3]) == {
    '| heads | 3 | 4 |',
    r'| eval_datasets | a\|b=x | (empty) |',
    '| seed | 1 | None |',
  }
  assert '| num_layers | 4 | 4 |' in rows[3:]


def test_one_chart_has_the_accuracies_of_training_and_evaluator() -> None:
  (value,) = tensorboard.layout().value
  layout = layout_pb2.Layout.FromString(value.tensor.string_val[0])
  charts = {chart.title: chart.multiline.tag for chart in layout.category[0].chart}
  tags = ['accuracy/accuracy', 'accuracy/test_accuracy']
  tags += [f'eval_accuracy/{name}' for name in ('train', 'val', 'test', 'mine, all: "ö"')]
  chart = charts['accuracy: train, val and test']
  assert all(any(re.match(pattern, tag) for pattern in chart) for tag in tags)
