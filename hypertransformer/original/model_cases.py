"""Compares our model with the original's recorded numbers (the aNN.npz files of ../shared/golden).

A file holds a configuration, all variables, inputs and what the original computes from them. Here
the model is built from the configuration, loaded through the checkpoint converter, run, and every
out/ and grad/ entry is compared. Where we differ on purpose, the original's version is put together
here: trained warm-up heads, and variation regularisation added up over the support and query passes
of the training and the test episode.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer import errors
from hypertransformer.model import accuracy
from hypertransformer.model.hypertransformer import HyperTransformer, Support
from hypertransformer.original import names, tolerances
from hypertransformer.original.tolerances import Comparison
from hypertransformer.runtime import sessions
from hypertransformer.settings import flags, from_flags
from hypertransformer.settings.config import LossConfig
from hypertransformer.training import regularization, task_objective

Arrays = Mapping[str, np.ndarray]
INPUTS = (
  'support_images',
  'support_labels',
  'support_mask',
  'support_classes',
  'query_images',
  'query_labels',
  'test_support_images',
  'test_support_labels',
  'test_support_mask',
  'test_query_images',
  'test_query_labels',
)
# What np.load and the entries of its file raise for files that are no (intact) .npz.
VARIATION_NAME = re.compile(r'reg_loss_(?P<variable>.*?)(?:_(?P<use>\d+))?$')


class NotComparable(errors.InputError):
  """The file can be read, but no model can be built from it to compare with."""


@dataclasses.dataclass(frozen=True)
class Case:
  """A golden file: its configuration and its arrays."""

  path: str
  arrays: Arrays
  settings: Mapping[str, Any]

  @property
  def values(self) -> dict[str, Any]:
    """All flag values; the original's warm-up heads are trained ones."""
    return {**flags.defaults(), 'warmup_heads': 'trained', **self.settings['flags']}

  @property
  def variables(self) -> dict[str, np.ndarray]:
    return {key[4:]: array for key, array in self.arrays.items() if key.startswith('var/')}

  def texts(self, key: str) -> list[str]:
    """A JSON list of strings, empty where the file has none."""
    return json.loads(str(self.arrays[key])) if key in self.arrays else []

  def input(self, name: str) -> tf.Tensor | None:
    """in/<name> as a constant; images also from uint8: u8 / 128 - 1."""
    if f'in/{name}_u8' in self.arrays:
      return tf.constant(self.arrays[f'in/{name}_u8'].astype(np.float32) / 128 - 1)
    return tf.constant(self.arrays[f'in/{name}']) if f'in/{name}' in self.arrays else None


def read_case(path: str) -> Case:
  """Reads a golden file. Raises InputError if it is none."""
  try:
    with np.load(path, allow_pickle=False) as file:
      arrays = {key: file[key] for key in file.files}
    settings = json.loads(str(arrays['config']))
    unknown = sorted(set(settings['flags']) - set(flags.defaults()))
  except tolerances.BAD_NPZ as error:
    raise errors.InputError(
      f'{path} is not a golden case (an .npz with a JSON entry "config"): {error}'
    ) from error
  if unknown:
    raise errors.InputError(
      f'{path}: its configuration has flags that do not exist: {", ".join(unknown)}.'
    )
  return Case(path, arrays, settings)


def check_case(path: str) -> list[Comparison]:
  """Every out/ and grad/ entry of the file against ours, run as training runs; an entry that we do
  not compute is a failure.
  """
  case = read_case(path)
  with tf.Graph().as_default() as graph:
    outputs, loss = _build(case)
    variables = tf.trainable_variables()
    gradients = {
      v.op.name: g for v, g in zip(variables, tf.gradients(loss, variables), strict=True)
    }
    with_gradient = {
      name: tf.convert_to_tensor(g) for name, g in gradients.items() if g is not None
    }
    with tf.Session(config=_one_thread(sessions.config(graph))) as session:
      _load(case, session)
      output_values, gradient_values = session.run([outputs, with_gradient])
    zeros = {v.op.name: np.zeros(v.shape.as_list(), np.float32) for v in variables}
  without = set(zeros) - set(gradient_values)
  return _compare(case, output_values, {**zeros, **gradient_values}, without)


def _one_thread(config: tf.ConfigProto) -> tf.ConfigProto:
  """As training does it by default, and as the numbers were recorded: several threads add up in
  another order.
  """
  config.intra_op_parallelism_threads = 1
  return config


def _load(case: Case, session: tf.Session) -> None:
  """Puts the file's variables into the graph; every variable on either side must have a
  counterpart.
  """
  values = names.import_variables(case.variables)
  variables = {v.op.name: v for v in tf.global_variables()}
  values.pop('global_step', None)
  odd = sorted(set(values) ^ set(variables))
  odd += [
    f'{name} {values[name].shape}, expected {tuple(v.shape.as_list())}'
    for name, v in variables.items()
    if name in values and values[name].shape != tuple(v.shape.as_list())
  ]
  if odd:
    raise NotComparable(
      f'{case.path}: variables of the file and of the model built from its flags differ: '
      f'{", ".join(odd[:5])} ({len(odd)} in all).'
    )
  # One run for all: each run of a new set of ops would optimise the whole graph again.
  session.run(
    [variable.initializer for variable in variables.values()],
    {variable.initializer.inputs[1]: values[name] for name, variable in variables.items()},
  )


def _build(case: Case) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
  """(every out/ entry by key, the original's total loss)."""
  values = case.values
  config = from_flags.model_config(values)
  images = case.input('support_images')
  if images is None:
    raise NotComparable(f'{case.path} has no in/support_images.')
  model = HyperTransformer(config, tuple(images.shape.as_list()[1:]))
  first, last = case.settings['real_class_min'], case.settings['real_class_max']
  classes = task_objective.RealClasses(first, last - first + 1)
  loss_config = from_flags.loss_config(values)
  real = case.input('support_classes')
  if loss_config.pretrain_shared:
    return _pretraining_outputs(model, images, real, classes, loss_config)
  support = Support(images, case.input('support_labels'), case.input('support_mask'))
  query = case.input('query_images'), case.input('query_labels')
  step = tf.constant(case.settings['global_step'], tf.int64)
  ours = task_objective.build(
    model, support, *query, loss_config, step, head=None if real is None else (real, classes)
  )
  outputs = _training_outputs(ours)
  outputs |= _evaluation_outputs(model, support, *query)
  return _with_original_loss(case, model, ours, loss_config, outputs)


def _pretraining_outputs(
  model: HyperTransformer,
  images: tf.Tensor,
  real: tf.Tensor,
  classes: task_objective.RealClasses,
  config: LossConfig,
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
  ours = task_objective.build_pretraining(model, images, real, classes, config)
  assert ours.shared_head is not None
  return {
    'out/loss': ours.loss,
    'out/shared_features': model.shared_features(images),
    'out/shared_head_loss': ours.shared_head.loss,
    'out/shared_head_accuracy': ours.shared_head.accuracy,
  }, ours.loss


def _training_outputs(ours: task_objective.Objective) -> dict[str, tf.Tensor]:
  assert ours.weights is not None
  assert ours.classified is not None
  outputs = {
    f'out/weights/{_number(name)}': weights.blocks for name, weights in ours.weights.layers.items()
  }
  outputs |= {f'out/layer/{_number(name)}': x for name, x in ours.classified.activations.items()}
  outputs |= {f'out/head_logits/{i}': x for i, x in enumerate(ours.classified.head_logits, start=1)}
  outputs |= {
    'out/logits': ours.classified.logits,
    'out/ce': ours.ce,
    'out/ce_terms': tf.stack(ours.terms),
  }
  if ours.warmup_weights is not None:
    outputs['out/warmup_weights'] = tf.stack(ours.warmup_weights)
  if ours.shared_head is not None:
    outputs['out/shared_head_loss'] = ours.shared_head.loss
    outputs['out/shared_head_accuracy'] = ours.shared_head.accuracy
  if ours.weights.shared_features is not None:
    outputs['out/shared_features'] = ours.weights.shared_features
  return outputs


def _number(layer: str) -> str:
  return layer.rpartition('_')[2]


def _evaluation_outputs(
  model: HyperTransformer, support: Support, images: tf.Tensor, labels: tf.Tensor
) -> dict[str, tf.Tensor]:
  """The evaluation path: the CNN generated and run a second time, with the same variables."""
  logits = model.classify(images, model.generate(support)).logits
  return {'out/eval_logits': logits, 'out/eval_accuracy': accuracy.accuracy(logits, labels)}


def _with_original_loss(
  case: Case,
  model: HyperTransformer,
  ours: task_objective.Objective,
  config: LossConfig,
  outputs: dict[str, tf.Tensor],
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
  """Adds regularisation and loss as the original has them (variation terms of all four uses)."""
  variation = [ours.variation_terms]
  if case.input('test_support_images') is not None:
    test_support = Support(
      case.input('test_support_images'),
      case.input('test_support_labels'),
      case.input('test_support_mask'),
    )
    weights = model.generate(test_support)
    classified = model.classify(case.input('test_query_images'), weights)
    outputs['out/test_logits'] = classified.logits
    outputs['test_accuracy'] = accuracy.accuracy(classified.logits, case.input('test_query_labels'))
    variation.append(
      regularization.variation_terms(weights.rows + classified.rows, config.variation_weight)
    )
  # Where support and query pass have their own trained variables, their terms are in the list
  # already.
  passes = ('both',) if model.config.separate_query_variables else ('support', 'query')
  terms = [term for episode in variation for _ in passes for term in episode] + ours.l2_terms
  loss = tf.add_n([ours.ce, *terms])
  if ours.shared_head is not None and config.shared_head_weight > 0:
    loss += config.shared_head_weight * ours.shared_head.loss
  if terms:
    outputs |= {'out/reg': tf.add_n(terms), 'out/reg_terms': tf.stack(terms)}
  return {**outputs, 'out/loss': loss}, loss


def _compare(
  case: Case, outputs: Arrays, gradients: Arrays, without_gradient: set[str]
) -> list[Comparison]:
  limits = tolerances.limits(case.arrays)
  results = [
    _compare_output(case, key, outputs, limits) for key in case.arrays if key.startswith('out/')
  ]
  exported = names.export_variables(gradients)
  stored = {key[5:]: array for key, array in case.arrays.items() if key.startswith('grad/')}
  results += tolerances.compare_gradients(stored, exported, limits)
  results += _compare_names(case, gradients, exported, stored, without_gradient)
  results += [
    Comparison(key, np.inf, 0.0, 'not compared')
    for key in case.arrays
    if key.startswith('in/') and key[3:].removesuffix('_u8') not in INPUTS
  ]
  return results + _compare_summaries(case, outputs)


def _compare_output(case: Case, key: str, outputs: Arrays, limits: tolerances.Limits) -> Comparison:
  expected = case.arrays[key]
  if key not in outputs:
    return Comparison(key, np.inf, 0.0, 'not compared')
  ours = np.asarray(outputs[key])
  if key.startswith('out/layer/'):
    ours = ours[: len(expected)]
  if key == 'out/reg_terms':
    ours, expected = _sorted_terms(case, ours, expected)
  return tolerances.compare(key, ours, expected, limits)


def _sorted_terms(
  case: Case, ours: np.ndarray, expected: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """Variation terms first, in their order; then the L2 terms by size, as their names carry no
  layer.
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
  """The lists of the file: trainable variables, those without gradient, and that every gradient is
  there.
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
  """The summaries, under the tags that people plot; the test accuracy only where the file has the
  test episode.
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
  """{tag: (our value, the output whose tolerance applies)}."""
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
    weighted = case.values['shared_head_weight'] * outputs['out/shared_head_loss']
    ours['loss/weighted_shared_head_loss'] = weighted, 'out/shared_head_loss'
  names_of_heads = [f'head-{i}' for i in range(1, len(outputs.get('out/warmup_weights', ())))]
  for number, name in enumerate(names_of_heads, start=1):
    hits = outputs[f'out/head_logits/{number}'].argmax(-1) == case.arrays['in/query_labels']
    ours[f'accuracy/{name}'] = hits.mean(), 'out/eval_accuracy'
  for name, weight in zip(
    [*names_of_heads, 'main'], outputs.get('out/warmup_weights', ()), strict=False
  ):
    ours[f'warmup_weights/{name}'] = weight, 'out/warmup_weights'
  return ours
