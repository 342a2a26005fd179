"""Loops over the tasks of a sequence: short ones are unrolled, longer ones are loops in the graph.

With a loop, the graph and the time to build it stay the same for any number of steps. An unrolled
step runs in about two thirds of the time, since nothing has to be stacked for the gradient. See
docs/spec/continual.md, section 4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow.compat.v1 as tf

# Up to how many steps are unrolled: sequences of 5 tasks have 15 pairs (t, tau).
UNROLLED_SCAN, UNROLLED_MAP = 5, 15


def scan(step: Callable[[Any, Any], Any], elements: Any, start: Any) -> Any:
  """Computes states one from the other, as tf.scan does: each is `step(state before, element)`.

  Args:
    step: The function.
    elements: A structure of tensors whose first axis counts the steps.
    start: The state before the first step, any structure of tensors.

  Returns:
    A structure like `start`: the states after each step, stacked.
  """
  count = _count(elements)
  if count > UNROLLED_SCAN:
    return tf.scan(step, elements, start)
  states = [start]
  for number in range(count):
    states.append(step(states[-1], _at(elements, number)))
  return tf.nest.map_structure(lambda *each: tf.stack(each), *states[1:])


def map_each(function: Callable[[Any], tf.Tensor], elements: Any) -> tf.Tensor:
  """Applies a function to each element and stacks the results, float32, as tf.map_fn does."""
  count = _count(elements)
  if count > UNROLLED_MAP:
    return tf.map_fn(function, elements, fn_output_signature=tf.float32)
  return tf.stack([function(_at(elements, number)) for number in range(count)])


def _count(elements: Any) -> int:
  """How many elements there are."""
  return int(tf.nest.flatten(elements)[0].shape[0])


def _at(elements: Any, number: int) -> Any:
  """The element of this number, in the same structure."""
  return tf.nest.map_structure(lambda x: x[number], elements)
