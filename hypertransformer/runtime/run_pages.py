"""What TensorBoard shows of a run as a whole: its flags, its hyperparameters, and chart layouts.

The summaries are those of TensorBoard's own plugins text, hparams and custom_scalars. They need no
graph.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import tensorflow.compat.v1 as tf
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import summary as layout_summary
from tensorboard.plugins.hparams import api_pb2
from tensorboard.plugins.hparams import summary as hparams_summary
from tensorboard.plugins.text import summary as text_summary

from hypertransformer.settings import flag_table, flags

# Flags that say where a run reads and writes, or how a checkpoint is evaluated: they are no
# hyperparameters.
_NO_HPARAMS = {
  'data_numpy_dir',
  'data_dir',
  'train_log_dir',
  'restore_shared_features_from',
  'steps_between_saves',
  'kernel_threads',
  'image_summaries',
  'eval_once',
  'eval_checkpoint',
  'eval_timeout_secs',
  *(flag.name for flag in flag_table.EVALUATION_FLAGS),
  *flag_table.WITHOUT_EFFECT,
}

# Charts by their titles, and the tags of their lines as regular expressions.
_CHARTS = {
  'accuracy: train, val and test': [
    r'^accuracy/accuracy$',
    r'^accuracy/test_accuracy$',
    r'^eval_accuracy/[^/]+$',
  ],
  'accuracy after each task of a sequence': [r'^accuracy/after_\d+$', r'^eval_average_accuracy/.+'],
  'loss': [r'^loss/loss$', r'^loss/loss/ce$'],
  'change of the generated kernels from episode to episode': [r'^kernel_change/.+'],
}


def hparams(values: Mapping[str, Any], log_dir: str) -> tf.Summary:
  """The hyperparameters of a run.

  The folders of training and evaluator each get them, with the name of the run. So TensorBoard puts
  the last scalars of both into one row of its table.

  Args:
    values: the value of every flag by its name.
    log_dir: the folder of the run, whose path is its name.
  """
  shown = {
    name: value
    for name, value in values.items()
    if name not in _NO_HPARAMS and name in flags.defaults() and value is not None
  }
  return hparams_summary.session_start_pb(shown, group_name=os.path.abspath(log_dir))


def ended(well: bool) -> tf.Summary:
  """Says that a run has ended: as it should, or because its loss was no longer a number."""
  return hparams_summary.session_end_pb(api_pb2.STATUS_SUCCESS if well else api_pb2.STATUS_FAILURE)


def layout() -> tf.Summary:
  """The layout of the page "Custom scalars": charts with lines of training and evaluator."""
  charts = [
    layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=tags))
    for title, tags in _CHARTS.items()
  ]
  category = layout_pb2.Category(title='hypertransformer', chart=charts)
  return layout_summary.pb(layout_pb2.Layout(category=[category]))


def flags_page(values: Mapping[str, Any]) -> tf.Summary:
  """A page of text with two tables: flags that have been set, and flags at their defaults."""
  defaults = flags.defaults()
  known = {name: values[name] for name in defaults if name in values}
  changed = {name: value for name, value in known.items() if value != defaults[name]}
  unchanged = {name: value for name, value in known.items() if name not in changed}
  parts = [
    '### Flags that are not at their defaults',
    _table(('flag', 'value', 'default'), [(n, v, defaults[n]) for n, v in changed.items()]),
    '### Flags at their defaults',
    _table(('flag', 'value'), list(unchanged.items())),
  ]
  return text_summary.pb('run/flags', '\n\n'.join(parts))


def variables_page(table: str) -> tf.Summary:
  """A page of text with the table of the CNN's variables: what is generated and what is trained.

  Args:
    table: lines of text in columns, as getter.table makes them.
  """
  code = '\n'.join(f'    {line}' for line in table.splitlines())
  return text_summary.pb('run/cnn', f'### The variables of the CNN\n\n{code}')


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
  """A table in Markdown."""
  lines = [head, ['---'] * len(head), *rows]
  return '\n'.join('| ' + ' | '.join(map(_cell, line)) + ' |' for line in lines)


def _cell(value: Any) -> str:
  """A value as a text that does not break the table."""
  return str(value).replace('|', '\\|').replace('\n', ' ') or '(empty)'
