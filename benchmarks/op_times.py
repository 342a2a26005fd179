"""Where the time of a session call goes, by op type: what `--trace` of the benchmarks prints."""

from __future__ import annotations

import collections
import statistics
from collections.abc import Callable

import tensorflow.compat.v1 as tf

CALLS = 20


def table(run: Callable[[tf.RunOptions, tf.RunMetadata], object], calls: int = CALLS) -> str:
  """Traces `calls` calls of run(options, metadata) and lists op types by time.

  A node's time is its median over the calls. Tracing itself adds about a microsecond to each node.
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
  """'[mklcpu 1MB] model/conv = _MklNativeConv2D(...)' -> 'Conv2D'."""
  kind = label.partition(' = ')[2].partition('(')[0] or label
  return kind.removeprefix('_Mkl').removeprefix('Native').removeprefix('Fused')
