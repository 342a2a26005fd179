r"""Measure what a training step costs, without summaries.

  taskset -c 1 python benchmarks/train_step.py --data_numpy_dir=./data_numpy_dir [--steps=300] \
    [flags of a run]

Without the flags of a run, those of scripts/omniglot_1shot_v1.sh are taken. The yardstick
(calibrate.py) runs on the same core before, between and after the measurements. One unit is the CPU
time of one iteration of it. Times are printed in units and in milliseconds; add the output to
docs/performance.md, with the command. startup.py measures what comes before the first step.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import yardstick  # isort: skip  (first: it chooses TensorFlow's kernels)

import tensorflow.compat.v1 as tf
from absl import app, flags

from hypertransformer.runtime import sessions
from hypertransformer.training import graph as graph_lib

import op_times  # isort: skip  (beside this file)

STEPS = flags.DEFINE_integer('steps', 300, 'training steps to time')
PARTS = flags.DEFINE_integer('parts', 3, 'parts of the steps, with the yardstick between them')
TRACE = flags.DEFINE_bool('trace', False, 'list the types of operations of a step by their time')
CORES = flags.DEFINE_integer(
  'cores', 1, 'threads of TensorFlow; 0: those of a run (--kernel_threads)'
)
WARM_UP = 30  # steps before the clock starts


def time_parts(
  run: Callable[[], object], count: int, parts: int
) -> tuple[yardstick.Units, float, float]:
  """Measure the time of a call, with the yardstick before, between and after its parts.

  Args:
    run: what is called.
    count: how often it is called, rounded down to a multiple of `parts`.
    parts: how many parts the calls are divided into.

  Returns:
    The units measured, and the CPU milliseconds and wall milliseconds of one call.
  """
  units = yardstick.Units()
  units.measure()
  cpu = wall = 0.0
  for _ in range(parts):
    cpu_start, wall_start = time.process_time(), time.perf_counter()
    for _ in range(count // parts):
      run()
    cpu += time.process_time() - cpu_start
    wall += time.perf_counter() - wall_start
    units.measure()
  done = count // parts * parts
  return units, cpu / done * 1e3, wall / done * 1e3


def device() -> str:
  """Return the name of the first GPU, such as 'NVIDIA A100-SXM4-40GB', or 'CPU'."""
  for gpu in tf.config.list_physical_devices('GPU'):
    return tf.config.experimental.get_device_details(gpu).get('device_name', gpu.name)
  return 'CPU'


def main(argv: list[str]) -> None:
  """Measure and print the cost of a training step."""
  del argv
  settings = yardstick.settings()
  sessions.use_kernel_threads(CORES.value or settings.run.kernel_threads)
  graph = graph_lib.build(
    settings, graph_lib.open_inputs(settings, seed=1), devices=graph_lib.gpus(settings.run.num_gpus)
  )
  config = sessions.config(tf.get_default_graph(), settings.run.xla)
  config.inter_op_parallelism_threads = CORES.value
  if TRACE.value:
    config.experimental.executor_type = ''  # the executor for one core cannot be traced
  with tf.Session(config=config) as session:
    session.run(tf.global_variables_initializer())
    session.run(graph.train_stream.initializer, {graph.train_stream.first: 0})
    step = session.make_callable(graph.step_done)
    for _ in range(WARM_UP):
      step()
    units, cpu, wall = time_parts(step, STEPS.value, PARTS.value)
    if TRACE.value:
      print(
        op_times.table(
          lambda options, metadata: session.run(
            graph.step_done, options=options, run_metadata=metadata
          )
        )
      )
  print(f'tensorflow {tf.__version__} on {device()}{", XLA" * settings.run.xla}; {units}')
  print(
    f'training step: {units.of(cpu):.2f} units ({cpu:.1f} ms CPU, {wall:.1f} ms wall, '
    f'{STEPS.value} steps)'
  )


if __name__ == '__main__':
  app.run(main, argv=yardstick.begin(sys.argv[1:]))
