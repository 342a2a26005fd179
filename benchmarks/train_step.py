"""What a training step costs, in the yardstick's units.

  taskset -c 1 python benchmarks/train_step.py --data_numpy_dir=./data_numpy_dir [steps=300] [flags of a run]

Without further flags: those of scripts/omniglot_1shot_v1.sh. Runs the yardstick (calibrate.py) on the same core before
and after; one unit is the CPU milliseconds of one iteration of it. Prints units and milliseconds per step without
summaries, and what comes before the first step. Append the output to benchmarks/RESULTS.md, with the command.
"""

from __future__ import annotations

import pathlib
import re
import resource
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

# Ours first: the package chooses TensorFlow's kernels before TensorFlow is imported.
from hypertransformer import flags as run_flags  # isort: skip
import tensorflow.compat.v1 as tf
from absl import app, flags

from hypertransformer import train
from hypertransformer.run import graph as graph_lib

import op_times  # isort: skip  (beside this file)

STEPS = flags.DEFINE_integer('steps', 300, 'training steps to time')
TRACE = flags.DEFINE_bool('trace', False, 'list the op types of a step by time')
WARM_UP = 30


def recipe(name: str) -> list[str]:
  """The flags of scripts/NAME_v1.sh."""
  text = (ROOT / 'scripts' / f'{name}_v1.sh').read_text()
  return re.findall(r'^ +(--\S+)', text, flags=re.MULTILINE)


def yardstick() -> float:
  """CPU milliseconds of one unit, now, on this core, with this process's environment (oneDNN on, as ours)."""
  output = subprocess.run([sys.executable, str(ROOT / 'benchmarks/calibrate.py'), '40'], check=True,
                          capture_output=True, text=True).stdout
  return float(output.split()[1])


def measure(values: run_flags.Values, steps: int, trace: bool = False) -> dict[str, float]:
  """Times `steps` steps of the training graph; single-threaded, as the yardstick."""
  setup = train.setup_from(values)
  with tf.Graph().as_default():
    graph = graph_lib.build(setup, seed=1)
    nodes = len(tf.get_default_graph().get_operations())
    config = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    with tf.Session(config=config) as session:
      session.run(tf.global_variables_initializer())
      session.run(graph.train_stream.initializer, {graph.train_stream.first: 0})
      session.run(graph.step_done)
      first_step = time.process_time()
      for _ in range(WARM_UP):
        session.run(graph.step_done)
      cpu, wall = time.process_time(), time.perf_counter()
      for _ in range(steps):
        session.run(graph.step_done)
      cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
      if trace:
        print(op_times.table(lambda options, metadata: session.run(graph.step_done, options=options,
                                                                   run_metadata=metadata)))
  resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
  return {'nodes': nodes, 'first_step': first_step, 'cpu_ms': cpu / steps * 1e3, 'wall_ms': wall / steps * 1e3,
          'resident': resident}


def main(argv: list[str]) -> None:
  """Prints the figures."""
  del argv
  before = yardstick()
  found = measure(run_flags.values(), STEPS.value, TRACE.value)
  after = yardstick()
  unit = (before + after) / 2
  print(f'tensorflow {tf.__version__}; unit {before:.2f} ms before, {after:.2f} ms after')
  print(f'training step: {found["cpu_ms"] / unit:.2f} units ({found["cpu_ms"]:.1f} ms CPU, {found["wall_ms"]:.1f} ms '
        f'wall, {STEPS.value} steps)')
  print(f'before the first step: {found["first_step"]:.1f} s CPU; graph nodes {found["nodes"]:.0f}; '
        f'largest resident memory {found["resident"]:.0f} MB')


if __name__ == '__main__':
  tf.disable_eager_execution()
  run_flags.define()
  given = sys.argv[1:]
  base = [] if any(argument.startswith('--cnn_model_name') for argument in given) else recipe('omniglot_1shot')
  app.run(main, argv=[sys.argv[0], *base, *given])
