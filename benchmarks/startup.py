"""Measure what a run costs until its first step is done: CPU time by phase, graph, and memory.

  taskset -c 1 python benchmarks/startup.py --data_numpy_dir=./data_numpy_dir [flags of a run]

Without the flags of a run, those of scripts/omniglot_1shot_v1.sh are taken.
"""

from __future__ import annotations

import resource
import sys
import time

import yardstick  # isort: skip  (first: it chooses TensorFlow's kernels)

import tensorflow.compat.v1 as tf
from absl import app, flags

from hypertransformer.training import graph as graph_lib

STEPS = flags.DEFINE_integer('steps', 100, 'training steps after which memory is read again')
IMPORTED = time.process_time()


def resident_mb() -> float:
  """Return the largest resident memory of this process so far, in MB."""
  return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def shared_mb() -> float | None:
  """Return how much of the memory that is resident now are pages of files, in MB.

  These are mostly TensorFlow's libraries. Processes of the same machine share them. None is
  returned if the system does not tell.
  """
  try:
    with open('/proc/self/status') as status:
      fields = dict(line.split(':', 1) for line in status)
  except FileNotFoundError:
    return None
  return int(fields['RssFile'].split()[0]) / 1024


def main(argv: list[str]) -> None:
  """Start a run, measure, and print the figures."""
  del argv
  times, memory = [('importing TensorFlow and ours', IMPORTED)], [('imports', resident_mb())]
  settings = yardstick.settings()
  graph = graph_lib.build(settings, graph_lib.open_inputs(settings, seed=1))
  init = tf.global_variables_initializer()
  times.append(('building the graph', time.process_time()))
  with tf.Session(config=yardstick.one_core()) as session:
    session.run(init)
    session.run(graph.train_stream.initializer, {graph.train_stream.first: 0})
    times.append(('initial values', time.process_time()))
    session.run(graph.step_done)
    times.append(('the first step', time.process_time()))
    memory.append(('the first step', resident_mb()))
    for _ in range(STEPS.value):
      session.run(graph.step_done)
    memory.append((f'{STEPS.value} steps', resident_mb()))
    shared = shared_mb()
  before = 0.0
  for name, end in times:
    print(f'{end - before:6.2f} s CPU  {name}')
    before = end
  print(f'{before:6.2f} s CPU  in all')
  print(
    f'{len(tf.get_default_graph().get_operations())} graph nodes; '
    f'{len(tf.global_variables())} variables'
  )
  print('largest resident memory: ' + ', '.join(f'{mb:.0f} MB after {name}' for name, mb in memory))
  if shared is not None:
    print(f'{shared:.0f} MB of it are pages of files, which the processes of a machine share')


if __name__ == '__main__':
  app.run(main, argv=yardstick.begin(sys.argv[1:]))
