"""The vectors of a transformer block, as parts of one variable."""

from __future__ import annotations

import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.model import transformer


def test_vectors_are_parts_of_one_variable(lab):
  with transformer.together('block', {'a/bias': 2, 'norm/gamma': 3}):
    with tf.variable_scope('norm'):
      gamma = tf.get_variable('gamma', [3])
    with tf.variable_scope('a'):
      bias, kernel = tf.get_variable('bias', [2]), tf.get_variable('kernel', [4, 2])
  assert {v.op.name: v.shape.as_list() for v in tf.trainable_variables()} == {
    'block/vectors': [5],
    'block/a/kernel': [4, 2],
  }
  assert kernel.shape.as_list() == [4, 2]
  lab.run(tf.global_variables_initializer())
  assert [each.tolist() for each in lab.run([bias, gamma])] == [[0, 0], [1, 1, 1]]
  gradient = tf.gradients(
    tf.reduce_sum(bias * [3.0, 4.0]) + 2.0 * gamma[1], tf.trainable_variables()[0]
  )[0]
  assert lab.run(gradient).tolist() == [3, 4, 0, 2, 0]


def test_a_scope_opened_again_has_the_same_variable(lab):
  with tf.variable_scope('outer', reuse=tf.AUTO_REUSE):
    for _ in range(2):
      with transformer.together('block', {'bias': 2}):
        bias = tf.get_variable('bias', [2])
  (variable,) = tf.global_variables()
  lab.run(variable.assign([5.0, 6.0]))
  assert lab.run(bias).tolist() == [5, 6]


def test_a_vector_of_another_width_or_left_over_is_refused():
  with pytest.raises(ValueError, match='incompatible'), transformer.together('one', {'bias': 2}):
    tf.get_variable('bias', [3])
  with (
    pytest.raises(ValueError, match='two: nothing asked for norm/beta'),
    transformer.together('two', {'norm/beta': 2}),
  ):
    pass


def test_names_of_decoder_blocks_are_those_of_encoder_blocks_with_the_cross_attention_s():
  assert [name for name in transformer.DECODER if 'cross' not in name] == list(transformer.ENCODER)
  assert len(set(transformer.DECODER)) == len(transformer.DECODER) == 13
