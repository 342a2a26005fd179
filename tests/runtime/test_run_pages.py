"""Pages of a run: hyperparameters, flags, the table of variables, and the layout of charts."""

from __future__ import annotations

import re

import pytest
import tensorflow.compat.v1 as tf
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import plugin_data_pb2

from hypertransformer.runtime import tensorboard
from hypertransformer.settings import flags


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
  assert info.hparams['balanced_batches'].bool_value is True
  assert info.hparams['train_dataset'].string_value == 'omniglot:0-9'
  absent = {'data_numpy_dir', 'train_log_dir', 'num_task_evals', 'value_dim', 'eval_once'}
  assert absent.isdisjoint(info.hparams)
  assert set(info.hparams) <= set(flags.defaults())


def test_a_flag_without_a_value_is_left_out() -> None:
  (value,) = tensorboard.hparams(flags.defaults(), 'logs').value
  data = plugin_data_pb2.HParamsPluginData.FromString(value.metadata.plugin_data.content)
  assert 'seed' not in data.session_start_info.hparams


@pytest.mark.parametrize('well', [True, False])
def test_the_end_says_how_the_run_has_ended(well: bool) -> None:
  (value,) = tensorboard.ended(well).value
  data = plugin_data_pb2.HParamsPluginData.FromString(value.metadata.plugin_data.content)
  assert data.session_end_info.status == (1 if well else 2), 'success, failure'


def test_the_page_of_flags_has_all_of_them_once() -> None:
  text = text_of(tensorboard.flags_page(flags.defaults() | {'heads': 3, 'eval_datasets': 'a|b=x'}))
  rows = re.findall(r'^\| (\w+) \|', text, re.MULTILINE)
  names = [name for name in rows if name != 'flag']
  assert sorted(names) == sorted(flags.defaults())
  changed, unchanged = text.split('### Flags at their defaults')
  assert '| heads | 3 | 4 |' in changed
  assert r'| eval_datasets | a\|b=x | (empty) |' in changed
  assert '| num_layers | 4 |' in unchanged


def test_the_page_of_variables_is_the_table_as_code() -> None:
  text = text_of(tensorboard.variables_page('layer  variable\nlayer_1  conv/kernel'))
  assert '\n    layer  variable\n    layer_1  conv/kernel' in text


def test_one_chart_has_the_accuracies_of_training_and_evaluator() -> None:
  (value,) = tensorboard.layout().value
  layout = layout_pb2.Layout.FromString(value.tensor.string_val[0])
  charts = {chart.title: chart.multiline.tag for chart in layout.category[0].chart}
  tags = ['accuracy/accuracy', 'accuracy/test_accuracy']
  tags += [f'eval_accuracy/{name}' for name in ('train', 'val', 'test', 'mine, all: "ö"')]
  chart = charts['accuracy: train, val and test']
  assert all(any(re.match(pattern, tag) for pattern in chart) for tag in tags)
  others = ['accuracy/after_1', 'eval_accuracy_disjoint/val', 'accuracy/head-1', 'loss/loss']
  assert not any(re.match(pattern, tag) for pattern in chart for tag in others)
