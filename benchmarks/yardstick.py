"""What the benchmarks share: the flags of a published run, and the unit of times.

Import this before TensorFlow: it chooses TensorFlow's kernels.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import subprocess
import sys
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

# The package comes before TensorFlow, whose kernels it chooses. Keras is left out, as in all our
# programs.
from hypertransformer import cli  # isort: skip

cli.import_tensorflow()
import tensorflow.compat.v1 as tf

from hypertransformer.runtime import sessions
from hypertransformer.settings import flags
from hypertransformer.settings.config import Settings


def begin(arguments: list[str]) -> list[str]:
  """Turn graph mode on, define the flags of a run, and complete the command line.

  Args:
    arguments: the command line, without the name of the program.

  Returns:
    The command line for app.run. If it does not choose a CNN, it begins with the flags of
    recipes/omniglot_1shot_v1.flags.
  """
  tf.disable_eager_execution()
  flags.define()
  chosen = any(argument.startswith(('--cnn_model_name', '--flagfile')) for argument in arguments)
  return [sys.argv[0], *([] if chosen else recipe('omniglot_1shot_v1')), *arguments]


def settings(**changes: Any) -> Settings:
  """Make the settings of the command line; `changes` are flags by name that override it."""
  return flags.settings_from(flags.values() | changes)


def recipe(name: str) -> list[str]:
  """Return the flag that reads those of a published run from hypertransformer/recipes."""
  return [f'--flagfile={ROOT}/hypertransformer/recipes/{name}.flags']


def one_core() -> tf.ConfigProto:
  """Return the session configuration of training, on one thread like the yardstick.

  It is made for the default graph and for a process that is pinned to one core.
  """
  config = sessions.config(tf.get_default_graph())
  config.intra_op_parallelism_threads = config.inter_op_parallelism_threads = 1
  return config


def unit_ms() -> float:
  """Measure one unit now, on this core, in CPU milliseconds.

  The yardstick runs TensorFlow as it comes, except that oneDNN is on, as it is for our programs.
  """
  ours = 'TF_MKL_OPTIMIZE_PRIMITIVE_MEMUSE', 'TF_USE_LEGACY_KERAS'
  stock = {name: value for name, value in os.environ.items() if name not in ours}
  output = subprocess.run(
    [sys.executable, str(ROOT / 'benchmarks/calibrate.py'), '40'],
    check=True,
    capture_output=True,
    text=True,
    env=stock,
  ).stdout
  return float(output.split()[1])


@dataclasses.dataclass
class Units:
  """The unit before, during and after a measurement; on a shared machine it changes.

  Attributes:
    measured: the unit each time, in CPU milliseconds.
  """

  measured: list[float] = dataclasses.field(default_factory=list)

  def measure(self) -> None:
    """Measure the unit once more."""
    self.measured.append(unit_ms())

  def of(self, cpu_ms: float) -> float:
    """Convert CPU milliseconds to units, by the mean of the units measured."""
    return cpu_ms * len(self.measured) / sum(self.measured)

  def __str__(self) -> str:
    """Return the unit as text, each time it was measured."""
    return 'unit ' + ', '.join(f'{ms:.2f}' for ms in self.measured) + ' ms'
