"""List the types of operations of a step by the time they take (`train_step.py --trace`)."""

from __future__ import annotations

import collections
import statistics
from collections.abc import Callable

import tensorflow.compat.v1 as tf

CALLS = 20  # that are traced


def table(run: Callable[[tf.RunOptions, tf.RunMetadata], object], calls: int = CALLS) -> str:
  """Trace calls of a session and list the types of operations by the time that they take.

  The time of a node is its median over the calls. Tracing adds about a microsecond to each node.

  Args:
    run: runs the session once, with the given options, and fills the metadata.
    calls: how often it is run.

  Returns:
    A line for each type of operation, with milliseconds per call and the number of nodes, and a
    last line for all.
  """
  times: dict[str, list[float]] = collections.defaultdict(list)
  kinds: dict[str, str] = {}
  for _ in range(calls):
    metadata = tf.RunMetadata()
    run(tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE), metadata)
    for device in metadata.step_stats.dev_stats:
      for node in device.node_stats:
        times[node.node_name].append(node.op_end_rel_micros / 1e3)
        kinds[node.node_name] = _op_type(node.timeline_label)
  total: dict[str, float] = collections.defaultdict(float)
  count: collections.Counter[str] = collections.Counter()
  for name, measured in times.items():
    total[kinds[name]] += statistics.median(measured)
    count[kinds[name]] += 1
  lines = [
    f'{milliseconds:8.2f} ms  {count[kind]:5d} x  {kind}'
    for kind, milliseconds in sorted(total.items(), key=lambda pair: -pair[1])
    if milliseconds >= 0.01
  ]
  return '\n'.join([*lines, f'{sum(total.values()):8.2f} ms  {sum(count.values()):5d} x  in all'])


def _op_type(label: str) -> str:
  """Read the type in a node's label: '[mklcpu 1MB] x = _MklNativeConv2D(...)' -> 'Conv2D'."""
  kind = label.partition(' = ')[2].partition('(')[0] or label
  return kind.removeprefix('_Mkl').removeprefix('Native').removeprefix('Fused')
