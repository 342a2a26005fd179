r"""Compare training from a memory-mapped dataset with training from memory, in time and memory.

  taskset -c 1 python benchmarks/memory_mapped.py [--gigabytes=6] [--rounds=6] [--steps=70] \
    [flags of a run]

A dataset of random pixels, 84 x 84 x 3, is made in a temporary folder (in --folder), which is
deleted at the end, also after Ctrl-C or SIGTERM. Two processes run training steps of
scripts/miniimagenet_1shot_v1.sh on it. One maps the file into memory, as training does. The other
holds all of it in memory. They take turns, so that both meet the same state of the machine. Before
each turn the whole file is read, so that it is in the page cache of the system.

Printed are milliseconds per step and their ratio; the largest resident memory (VmHWM), and how much
of it belongs to the process (RssAnon) and to files (RssFile), from ten samples of /proc/PID/status
per second; and how much was read from the disk all the same. This runs on Linux only, and needs the
size of the dataset on disk and three times as much in memory.
"""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator

import yardstick  # first: it chooses TensorFlow's kernels  # isort: skip

import numpy as np
import tensorflow.compat.v1 as tf
from absl import app, flags

from hypertransformer.training import graph as graph_lib

GIGABYTES = flags.DEFINE_float('gigabytes', 6.0, 'size of the dataset', lower_bound=0.1)
ROUNDS = flags.DEFINE_integer('rounds', 6, 'turns of each process')
STEPS = flags.DEFINE_integer('steps', 70, 'training steps of a turn')
FOLDER = flags.DEFINE_string('folder', None, 'where to make the temporary folder')
WORKER = flags.DEFINE_enum(
  'worker', None, ['mapped', 'memory'], 'used by this program for its own processes'
)
NAME = 'generated'
SIDE = 84
SAMPLES = 600  # images of a class, on average
BLOCK_BYTES = 1 << 26  # pixels are written in blocks of this size
WARM_UP = 10  # steps before the first turn


def generate(folder: pathlib.Path, size: float) -> int:
  """Write a dataset of random pixels: images.npy and class_sizes.npy.

  Args:
    folder: a new folder, for both files.
    size: about how many bytes the images shall have.

  Returns:
    The number of classes.
  """
  image_bytes = SIDE * SIDE * 3
  classes = max(20, int(size / image_bytes / SAMPLES))
  rng = np.random.default_rng(0)
  sizes = rng.integers(SAMPLES // 2, SAMPLES * 3 // 2, classes, endpoint=True)
  total = int(sizes.sum())
  folder.mkdir()
  np.save(folder / 'class_sizes.npy', sizes)
  with open(folder / 'images.npy', 'wb') as file:
    np.lib.format.write_array_header_1_0(
      file, {'descr': '|u1', 'fortran_order': False, 'shape': (total, SIDE, SIDE, 3)}
    )
    for start in range(0, total * image_bytes, BLOCK_BYTES):
      file.write(rng.bytes(min(BLOCK_BYTES, total * image_bytes - start)))
  return classes


def work() -> None:
  """Train as one of the two processes that are compared.

  Each line of stdin is a number of steps. They are run, and the CPU seconds and wall seconds that
  they took are printed.
  """
  settings = yardstick.settings()
  inputs = graph_lib.open_inputs(settings, seed=1)
  if WORKER.value == 'memory':
    arrays = inputs.train.class_set.arrays
    held = dataclasses.replace(arrays, images=np.array(arrays.images))
    for sampler in (inputs.train, inputs.test):
      sampler.class_set = dataclasses.replace(sampler.class_set, arrays=held)
  graph = graph_lib.build(settings, inputs)
  with tf.Session(config=yardstick.one_core()) as session:
    session.run(tf.global_variables_initializer())
    session.run(graph.train_stream.initializer, {graph.train_stream.first: 0})
    step = session.make_callable(graph.step_done)
    for line in sys.stdin:
      cpu, wall = time.process_time(), time.perf_counter()
      for _ in range(int(line)):
        step()
      print(time.process_time() - cpu, time.perf_counter() - wall, flush=True)


@dataclasses.dataclass
class Worker:
  """One of the two processes, and what was measured of it.

  Attributes:
    process: the process, which runs `work`.
    turns: CPU seconds and wall seconds of each turn.
    peak: the most memory that was seen, in MB, by its name in /proc/PID/status.
    from_disk: bytes read from the disk during the turns.
  """

  process: subprocess.Popen[str]
  turns: list[tuple[float, float]] = dataclasses.field(default_factory=list)
  peak: dict[str, float] = dataclasses.field(default_factory=dict)
  from_disk: int = 0

  def run(self, steps: int) -> tuple[float, float]:
    """Make the process train this many steps, and return their CPU seconds and wall seconds."""
    assert self.process.stdin is not None
    assert self.process.stdout is not None
    print(steps, file=self.process.stdin, flush=True)
    answer = self.process.stdout.readline()
    if not answer:
      sys.exit(f'a process ended with status {self.process.wait()}, see above')
    cpu, wall = map(float, answer.split())
    return cpu, wall

  def take_turn(self, steps: int) -> None:
    """Make the process train this many steps, and note what they cost."""
    before = self._read_bytes()
    self.turns.append(self.run(steps))
    self.from_disk += self._read_bytes() - before

  def _read_bytes(self) -> int:
    text = pathlib.Path(f'/proc/{self.process.pid}/io').read_text()
    return int(text.partition('\nread_bytes:')[2].split()[0])

  def sample(self) -> None:
    """Note the memory in use now, if it is more than before."""
    with contextlib.suppress(OSError):
      for line in pathlib.Path(f'/proc/{self.process.pid}/status').read_text().splitlines():
        key, _, value = line.partition(':')
        if key in ('VmHWM', 'RssAnon', 'RssFile'):
          self.peak[key] = max(self.peak.get(key, 0.0), int(value.split()[0]) * 1024 / 1e6)

  def per_step(self, steps: int) -> np.ndarray:
    """Return the CPU and wall milliseconds of a step, [turns, 2]."""
    return np.array(self.turns) / steps * 1e3


@contextlib.contextmanager
def worker(kind: str, arguments: list[str]) -> Iterator[Worker]:
  """Start a process of the given kind ('mapped' or 'memory'), and end it with the block."""
  command = [sys.executable, __file__, f'--worker={kind}', *arguments]
  with subprocess.Popen(
    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
  ) as process:
    try:
      yield Worker(process)
    finally:
      process.kill()


@contextlib.contextmanager
def sampled(workers: list[Worker]) -> Iterator[None]:
  """Sample the memory of the processes ten times a second while the block runs."""
  done = threading.Event()

  def sample() -> None:
    while not done.wait(0.1):
      for each in workers:
        each.sample()

  thread = threading.Thread(target=sample, daemon=True)
  thread.start()
  try:
    yield
  finally:
    done.set()
    thread.join()


def read_through(path: pathlib.Path) -> None:
  """Read a file to its end, which brings it into the page cache."""
  block = bytearray(1 << 20)
  with open(path, 'rb', buffering=0) as file:
    while file.readinto(block):
      pass


def take_turns(workers: list[Worker], path: pathlib.Path) -> None:
  """Let the processes take their turns, in the reverse order in every other round.

  Args:
    workers: the processes.
    path: the file from which they train.
  """
  with sampled(workers):
    for each in workers:
      each.run(WARM_UP)
    for number in range(ROUNDS.value):
      for each in workers if number % 2 else workers[::-1]:
        read_through(path)
        each.take_turn(STEPS.value)
      print('.', end='', file=sys.stderr, flush=True)
  print(file=sys.stderr)


def report(mapped: Worker, memory: Worker) -> None:
  """Print what was measured of both processes, and the ratio of their times."""
  for name, each in (('memory-mapped', mapped), ('in memory', memory)):
    cpu, wall = each.per_step(STEPS.value).mean(0)
    print(
      f'{name + ":":<14} {cpu:.1f} ms CPU, {wall:.1f} ms wall per step ({ROUNDS.value} x '
      f'{STEPS.value} steps); resident at most {each.peak["VmHWM"]:.0f} MB (RssAnon '
      f'{each.peak["RssAnon"]:.0f}, RssFile {each.peak["RssFile"]:.0f}); '
      f'{each.from_disk / 1e6:.0f} MB from the disk'
    )
  ratios = mapped.per_step(STEPS.value) / memory.per_step(STEPS.value)
  total = np.sum(mapped.turns, 0) / np.sum(memory.turns, 0)
  print(
    f'mapped / memory: {total[0]:.3f} CPU, {total[1]:.3f} wall; by rounds, CPU: '
    + ' '.join(f'{ratio:.3f}' for ratio in ratios[:, 0])
  )


def main(argv: list[str]) -> None:
  """Make the dataset, let the two processes train, and print what was measured."""
  del argv
  if WORKER.value:
    work()
    return
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
  with tempfile.TemporaryDirectory(prefix='memory_mapped_', dir=FOLDER.value) as folder:
    classes = generate(pathlib.Path(folder) / NAME, GIGABYTES.value * 1e9)
    path = pathlib.Path(folder) / NAME / 'images.npy'
    print(f'tensorflow {tf.__version__}; {path.stat().st_size / 1e9:.2f} GB, {classes} classes')
    arguments = [
      *sys.argv[1:],
      f'--data_numpy_dir={folder}',
      f'--train_dataset={NAME}:0-{classes - 11}',
      f'--test_dataset={NAME}:{classes - 10}-{classes - 1}',
    ]
    with worker('mapped', arguments) as mapped, worker('memory', arguments) as memory:
      take_turns([mapped, memory], path)
      report(mapped, memory)


if __name__ == '__main__':
  app.run(main, argv=yardstick.begin([*yardstick.recipe('miniimagenet_1shot_v1'), *sys.argv[1:]]))
