"""Loops over the tasks of a sequence: few steps are unrolled, many are one loop in the graph.

A loop keeps the graph, and the time it takes to build, the same for any number of steps. An
unrolled step runs in about two thirds of the time, as nothing has to be stacked for the gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow.compat.v1 as tf

UNROLLED_SCAN, UNROLLED_MAP = 5, 15  # steps: sequences of 5 tasks have 15 pairs


def scan(step: Callable[[Any, Any], Any], elements: Any, start: Any) -> Any:
  """tf.scan: the states that `step(state, element)` leads to, stacked. elements, start: any
  structures of tensors.
  """
  count = _count(elements)
  if count > UNROLLED_SCAN:
    return tf.scan(step, elements, start)
  states = [start]
  for number in range(count):
    states.append(step(states[-1], _at(elements, number)))
  return tf.nest.map_structure(lambda *each: tf.stack(each), *states[1:])


def map_each(function: Callable[[Any], tf.Tensor], elements: Any) -> tf.Tensor:
  """tf.map_fn of a function to float32."""
  count = _count(elements)
  if count > UNROLLED_MAP:
    return tf.map_fn(function, elements, fn_output_signature=tf.float32)
  return tf.stack([function(_at(elements, number)) for number in range(count)])


def _count(elements: Any) -> int:
  return int(tf.nest.flatten(elements)[0].shape[0])


def _at(elements: Any, number: int) -> Any:
  return tf.nest.map_structure(lambda x: x[number], elements)
