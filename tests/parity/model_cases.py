"""Compares our model with numbers recorded from the original (model cases: aNN.npz and bNN.npz).

A file holds a configuration, the values of all variables (var/...), inputs (in/...), what the
original computes from them (out/...), and gradients (grad/...). Here our model is built from the
configuration, takes the variables through the checkpoint converter, and runs. Every output and
gradient is compared, and so are the lists of variables and the summaries.

Where we differ from the original on purpose, its way is followed here: warm-up heads are trained,
and the variation regularisation is added up over support pass and query pass, of the training
episode and of the test episode.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.checkpoint_conversion import names
from hypertransformer.model import layers
from hypertransformer.model.getter import VariableUse
from hypertransformer.model.hypertransformer import (
  Classified,
  CnnWeights,
  HyperTransformer,
  Support,
)
from hypertransformer.runtime import sessions
from hypertransformer.settings import flags
from hypertransformer.settings.config import LossConfig
from hypertransformer.training import losses
from tests.parity import tolerances
from tests.parity.tolerances import Comparison

Arrays = Mapping[str, np.ndarray]  # arrays by their key in the file, or by the name of a variable
# The original's name of a term of the variation regularisation; terms for L2 have other names.
VARIATION_NAME = re.compile(r'reg_loss_(?P<variable>.*?)(?:_(?P<use>\d+))?$')


@dataclasses.dataclass(frozen=True)
class Case:
  """A recorded model case.

  Attributes:
    arrays: all arrays of the file by key.
    settings: its configuration: the original's flags that differ from their defaults, the step, and
      the real classes.
  """

  arrays: Arrays
  settings: Mapping[str, Any]

  @property
  def values(self) -> dict[str, Any]:
    """The values of all our flags; as in the original, warm-up heads are trained."""
    # The episodes are recorded; only `balanced_batches` allows unlabelled samples among the flags.
    fixed = {'warmup_heads': 'trained', 'balanced_batches': True}
    return {**flags.defaults(), **fixed, **self.settings['flags']}

  @property
  def variables(self) -> dict[str, np.ndarray]:
    """The values of the original's variables, by name."""
    return {key[4:]: array for key, array in self.arrays.items() if key.startswith('var/')}

  def texts(self, key: str) -> list[str]:
    """Reads an array that is a JSON list of strings; empty if the file does not have it."""
    return json.loads(str(self.arrays[key])) if key in self.arrays else []

  def input(self, name: str) -> tf.Tensor | None:
    """Returns an input as a constant; None if the file does not have it.

    Images may be stored as uint8; they become float32, value / 128 - 1.
    """
    if f'in/{name}_u8' in self.arrays:
      return tf.constant(self.arrays[f'in/{name}_u8'].astype(np.float32) / 128 - 1)
    return tf.constant(self.arrays[f'in/{name}']) if f'in/{name}' in self.arrays else None


def check_case(arrays: Arrays, xla: bool = False) -> list[Comparison]:
  """Build the model of a case, run it as training does, and compare everything recorded.

  Args:
    arrays: the arrays of the file by key.
    xla: whether XLA compiles clusters of operations (--xla of a training).

  Returns:
    A comparison for each output, gradient, list of variables and summary. What we do not compute is
    a failure.

  Raises:
    ValueError: the variables or the flags of the file do not fit the model.
    InputError: its flags make no model.
  """
  case = Case(arrays, json.loads(str(arrays['config'])))
  unknown = set(case.settings['flags']) - set(flags.defaults())
  if unknown:
    raise ValueError(f'flags that do not exist: {sorted(unknown)}')
  return compare(case, *compute(case, xla))


def compute(case: Case, xla: bool = False) -> tuple[Arrays, Arrays, set[str]]:
  """Run the model of a case.

  Returns:
    The outputs by key; the gradients by the name of our variable, zeros where there is none; and
    the names of our variables on which the loss does not depend.
  """
  with tf.Graph().as_default() as graph:
    outputs, loss = _build(case)
    variables = tf.trainable_variables()
    gradients = {
      v.op.name: g for v, g in zip(variables, tf.gradients(loss, variables), strict=True)
    }
    with_gradient = {
      name: tf.convert_to_tensor(g) for name, g in gradients.items() if g is not None
    }
    with tf.Session(config=_one_thread(sessions.config(graph, xla))) as session:
      _load(case, session)
      output_values, gradient_values = session.run([outputs, with_gradient])
    zeros = {v.op.name: np.zeros(v.shape.as_list(), np.float32) for v in variables}
  return output_values, {**zeros, **gradient_values}, set(zeros) - set(gradient_values)


def _one_thread(config: tf.ConfigProto) -> tf.ConfigProto:
  """Makes operations run on one thread, as by default in training and when numbers were recorded.

  Several threads add numbers up in another order.
  """
  config.intra_op_parallelism_threads = 1
  return config


def _load(case: Case, session: tf.Session) -> None:
  """Give the variables of the graph the values of the file.

  Raises:
    ValueError: a variable of the graph or of the file has no counterpart of the same shape.
  """
  values = names.import_variables(case.variables)
  variables = {v.op.name: v for v in tf.global_variables()}
  values.pop('global_step', None)
  odd = sorted(set(values) ^ set(variables))
  if odd:
    raise ValueError(
      f'variables of the file and of the model built from its flags differ: {odd[:5]}'
    )
  # One run for all: each run of a new set of ops would optimise the whole graph again.
  session.run(
    [variable.initializer for variable in variables.values()],
    {variable.initializer.inputs[1]: values[name] for name, variable in variables.items()},
  )


def _build(case: Case) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
  """Builds the model of a case.

  Returns:
    What we compute, by the key of the recorded output, and the total loss as the original has it.
  """
  values = case.values
  config = flags.settings_from(values).model
  images = case.input('support_images')
  if images is None:
    raise ValueError('no in/support_images')
  model = HyperTransformer(config, tuple(images.shape.as_list()[1:]))
  real_classes = range(case.settings['real_class_min'], case.settings['real_class_max'] + 1)
  loss_config = flags.settings_from(values).loss
  real = case.input('support_classes')
  if loss_config.pretrain_shared:
    features = model.shared_features(images)
    loss, hits = losses.real_class_head(features, real, real_classes, loss_config.label_smoothing)
    return {
      'out/loss': loss,
      'out/shared_features': features,
      'out/shared_head_loss': loss,
      'out/shared_head_accuracy': hits,
    }, loss
  support = Support(images, case.input('support_labels'), case.input('support_mask'))
  query, labels = case.input('query_images'), case.input('query_labels')
  step = tf.constant(case.settings['global_step'], tf.int64)
  weights = model.generate(support)
  classified = model.classify(query, weights)
  outputs = _training_outputs(weights, classified)
  head_loss = None
  if real is not None and weights.shared_features is not None:
    head_loss, outputs['out/shared_head_accuracy'] = losses.real_class_head(
      weights.shared_features, real, real_classes, loss_config.label_smoothing
    )
    outputs['out/shared_head_loss'] = head_loss
  rows = (*weights.uses, *classified.uses)
  ours = losses.task_loss(
    loss_config, classified.logits, classified.head_logits, labels, rows, step, head_loss
  )
  outputs |= {
    'out/ce': ours.metrics()['loss/loss/ce'],
    'out/ce_terms': tf.stack(ours.cross_entropies),
  }
  if ours.warmup is not None:
    outputs['out/warmup_weights'] = tf.stack(ours.warmup)
  outputs |= _evaluation_outputs(model, support, query, labels)
  return _with_original_loss(case, model, rows, ours, loss_config, outputs)


def _training_outputs(weights: CnnWeights, classified: Classified) -> dict[str, tf.Tensor]:
  """Return what the two passes of training compute, by the key of the recorded output."""
  outputs = {f'out/weights/{_number(name)}': layer.blocks for name, layer in weights.layers.items()}
  outputs |= {f'out/layer/{_number(name)}': x for name, x in classified.activations.items()}
  outputs |= {f'out/head_logits/{i}': x for i, x in enumerate(classified.head_logits, start=1)}
  outputs['out/logits'] = classified.logits
  if weights.shared_features is not None:
    outputs['out/shared_features'] = weights.shared_features
  return outputs


def _number(layer: str) -> str:
  """Returns the number of a layer by its name: 'layer_2' -> '2'."""
  return layer.rpartition('_')[2]


def _evaluation_outputs(
  model: HyperTransformer, support: Support, images: tf.Tensor, labels: tf.Tensor
) -> dict[str, tf.Tensor]:
  """Builds the path of evaluation: the CNN is generated and run again, with the same variables."""
  logits = model.classify(images, model.generate(support)).logits
  return {'out/eval_logits': logits, 'out/eval_accuracy': layers.accuracy(logits, labels)}


def _with_original_loss(
  case: Case,
  model: HyperTransformer,
  rows: Sequence[VariableUse],
  ours: losses.TaskLoss,
  config: LossConfig,
  outputs: dict[str, tf.Tensor],
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
  """Adds the regularisation and the total loss to the outputs, as the original has them.

  It counts the variation of a generated tensor at each of its uses: in the support pass and in the
  query pass, of the training episode and of the test episode.
  """
  variation = [losses.variation_terms(rows, config.variation_weight)]
  if case.input('test_support_images') is not None:
    test_support = Support(
      case.input('test_support_images'),
      case.input('test_support_labels'),
      case.input('test_support_mask'),
    )
    weights = model.generate(test_support)
    classified = model.classify(case.input('test_query_images'), weights)
    outputs['out/test_logits'] = classified.logits
    outputs['test_accuracy'] = layers.accuracy(classified.logits, case.input('test_query_labels'))
    variation.append(
      losses.variation_terms([*weights.uses, *classified.uses], config.variation_weight)
    )
  # If both passes have trained variables of their own, the terms of both are in the list already.
  passes = ('both',) if model.config.separate_query_variables else ('support', 'query')
  terms = [term for episode in variation for _ in passes for term in episode]
  terms += losses.l2_terms(rows, config.l2_weight)
  loss = tf.add_n([outputs['out/ce'], *terms])
  if ours.real_classes is not None:
    loss += ours.real_classes
  if terms:
    outputs |= {'out/reg': tf.add_n(terms), 'out/reg_terms': tf.stack(terms)}
  return {**outputs, 'out/loss': loss}, loss


def compare(
  case: Case, outputs: Arrays, gradients: Arrays, without_gradient: set[str]
) -> list[Comparison]:
  """Compare everything that a case has recorded with the results of `compute`."""
  limits = tolerances.limits(case.arrays)
  results = [
    _compare_output(case, key, outputs, limits) for key in case.arrays if key.startswith('out/')
  ]
  exported = names.export_variables(gradients)
  stored = {key[5:]: array for key, array in case.arrays.items() if key.startswith('grad/')}
  results += tolerances.compare_gradients(stored, exported, limits)
  results += _compare_names(case, gradients, exported, stored, without_gradient)
  return results + _compare_summaries(case, outputs)


def _compare_output(case: Case, key: str, outputs: Arrays, limits: tolerances.Limits) -> Comparison:
  expected = case.arrays[key]
  if key not in outputs:
    return Comparison(key, np.inf, 0.0, 'not compared')
  ours = np.asarray(outputs[key])
  if key.startswith('out/layer/'):
    ours = ours[: len(expected)]  # only the first query images were recorded
  if key == 'out/reg_terms':
    ours, expected = _sorted_terms(case, ours, expected)
  return tolerances.compare(key, ours, expected, limits)


def _sorted_terms(
  case: Case, ours: np.ndarray, expected: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Puts both lists of regularisation terms into one order, so that they can be compared.

  The variation terms come first, in the order in which they are. The L2 terms follow by size,
  because their names do not tell their layer.
  """
  is_variation = np.array(
    [bool(VARIATION_NAME.match(name)) for name in case.texts('reg_term_names')]
  )
  count = int(is_variation.sum())
  return (
    np.concatenate([ours[:count], np.sort(ours[count:])]),
    np.concatenate([expected[is_variation], np.sort(expected[~is_variation])]),
  )


def _compare_names(
  case: Case, ours: Arrays, exported: Arrays, stored: Arrays, without_gradient: set[str]
) -> list[Comparison]:
  """Compares the recorded lists of names.

  They are the trainable variables, those on which the loss does not depend, and those whose
  gradient was recorded or left out on purpose: together these must be all.
  """
  trainable = {name for name in exported if '/moving_' not in name}
  marked = names.export_variables(
    {name: np.full_like(g, name in without_gradient) for name, g in ours.items()}
  )
  none = {name for name in trainable if marked[name].any()}
  expected = set(stored) | set(case.texts('none_grads')) | set(case.texts('grads_not_stored'))
  return [
    tolerances.compare_sets('trainable', trainable, set(case.texts('trainable'))),
    tolerances.compare_sets('none_grads', none, set(case.texts('none_grads'))),
    tolerances.compare_sets('grad/', trainable, expected),
  ]


def _compare_summaries(case: Case, outputs: Arrays) -> list[Comparison]:
  """Compares the recorded summaries, by tag.

  The test accuracy is left out if the file does not have the test episode.
  """
  recorded = json.loads(str(case.arrays['summaries'])) if 'summaries' in case.arrays else {}
  ours = _summaries(case, outputs)
  results = []
  for tag, expected in recorded.items():
    if tag in ours:
      value, like = ours[tag]
      results.append(
        tolerances.compare(
          f'summaries/{tag}',
          np.asarray(value),
          np.asarray(expected),
          tolerances.limits(case.arrays),
          like=like,
        )
      )
    elif tag != 'accuracy/test_accuracy':
      results.append(Comparison(f'summaries/{tag}', np.inf, 0.0, 'not compared'))
  return results


def _summaries(case: Case, outputs: Arrays) -> dict[str, tuple[Any, str]]:
  """Returns our value of each summary, and the key of the output whose tolerance applies."""
  tags = {
    'loss/loss': 'out/loss',
    'loss/loss/ce': 'out/ce',
    'loss/loss/regularization': 'out/reg',
    'accuracy/accuracy': 'out/eval_accuracy',
    'accuracy/test_accuracy': 'test_accuracy',
    'loss/shared_head_loss': 'out/shared_head_loss',
    'accuracy/shared_head_accuracy': 'out/shared_head_accuracy',
  }
  ours = {tag: (outputs[key], key) for tag, key in tags.items() if key in outputs}
  if 'out/shared_head_loss' in outputs:
    head_weight = flags.settings_from(case.values).loss.shared_head_weight
    ours['loss/weighted_shared_head_loss'] = (
      head_weight * outputs['out/shared_head_loss'],
      'out/shared_head_loss',
    )
  names_of_heads = [f'head-{i}' for i in range(1, len(outputs.get('out/warmup_weights', ())))]
  for number, name in enumerate(names_of_heads, start=1):
    hits = outputs[f'out/head_logits/{number}'].argmax(-1) == case.arrays['in/query_labels']
    ours[f'accuracy/{name}'] = hits.mean(), 'out/eval_accuracy'
  for name, weight in zip(
    [*names_of_heads, 'main'], outputs.get('out/warmup_weights', ()), strict=False
  ):
    ours[f'warmup_weights/{name}'] = weight, 'out/warmup_weights'
  return ours
