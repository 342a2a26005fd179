"""What the benchmarks share: the flags of a published run, and the unit that times are given in."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import re
import subprocess
import sys
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

# Ours first: the package chooses TensorFlow's kernels before TensorFlow is imported, and a program
# leaves Keras out.
from hypertransformer import command  # isort: skip

command.leave_out_keras()
from hypertransformer.settings import flags

from hypertransformer.settings import from_flags  # isort: skip
import tensorflow.compat.v1 as tf

from hypertransformer.runtime import sessions
from hypertransformer.settings.config import Settings


def begin(arguments: list[str]) -> list[str]:
  """Graph mode, and the command line for app.run: without flags of a CNN, those of
  scripts/omniglot_1shot_v1.sh.
  """
  tf.disable_eager_execution()
  flags.define()
  chosen = any(argument.startswith(('--cnn_model_name', '--flagfile')) for argument in arguments)
  return [sys.argv[0], *([] if chosen else recipe('omniglot_1shot')), *arguments]


def settings(**changes: Any) -> Settings:
  """What the flags on the command line make; changes: flag values by name that count instead."""
  return from_flags.settings_from(flags.values() | changes)


def recipe(name: str) -> list[str]:
  """The flags of scripts/NAME_v1.sh."""
  text = (ROOT / 'scripts' / f'{name}_v1.sh').read_text()
  return re.findall(r'^ +(--\S+)', text, flags=re.MULTILINE)


def one_core() -> tf.ConfigProto:
  """The session of training of the default graph, single-threaded as the yardstick; for processes
  pinned to a core.
  """
  config = sessions.config(tf.get_default_graph())
  config.intra_op_parallelism_threads = config.inter_op_parallelism_threads = 1
  return config


def unit_ms() -> float:
  """CPU milliseconds of one unit, now, on this core: TensorFlow as it comes, but with oneDNN on, as
  for ours.
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
  """The unit before, during and after a measurement; it moves on a shared machine."""

  measured: list[float] = dataclasses.field(default_factory=list)

  def measure(self) -> None:
    self.measured.append(unit_ms())

  def of(self, cpu_ms: float) -> float:
    """Milliseconds -> units, of the mean unit."""
    return cpu_ms * len(self.measured) / sum(self.measured)

  def __str__(self) -> str:
    return 'unit ' + ', '.join(f'{ms:.2f}' for ms in self.measured) + ' ms'
