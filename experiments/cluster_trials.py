"""Tries clusters on this machine again and again, and writes what happened.

  python experiments/cluster_trials.py --output=FOLDER [--parts=sync,async,equal] [--times=10] \\
    [--kills=5] [--data_numpy_dir=./data_numpy_dir]

  sync, async  a chief, a worker and a parameter server make 300 updates, --times times
  equal        two synchronous workers against one process with --episodes_per_step=2, from one
               checkpoint, with dropout
  kill         each of worker, chief and parameter server is killed --kills times, at random
               moments of a run, half of the runs synchronous; then it is started again
  speed        updates and CPU seconds of omniglot_1shot_v2 in one process and in clusters
  learn        omniglot_1shot_v2: two asynchronous workers against one process, 4,000 episodes each

All but the last two use a small model on made-up images. Each part writes FOLDER/PART.md.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import tensorflow.compat.v1 as tf

from hypertransformer.cluster import local
from hypertransformer.cluster.local import Member

LIMIT = 400.0  # seconds after which a run has failed
SMALL = [
  '--num_labels=3',
  '--samples_transformer=6',
  '--samples_cnn=9',
  '--balanced_batches',
  '--image_size=12',
  '--train_dataset=tiny:0-19',
  '--test_dataset=tiny:20-29',
  '--smooth_probability=0',
  '--contrast_probability=0',
  '--kernel_size=2',
  '--stride=2',
  '--default_num_channels=2',
  '--embedding_dim=2',
  '--num_layers=1',
  '--heads=1',
  '--num_layerwise_features=2',
  '--number_of_trained_cnn_layers=2',
  '--lw_weight_allocation=output',
  '--learning_rate=0.05',
  '--seed=1',
]


class Cluster:
  """The processes of one run, all of which are ended with it.

  Attributes:
    members: the processes by name.
    lines: all that they have said.
  """

  def __init__(self, command: list[str], workers: int = 2, servers: int = 1) -> None:
    """Starts them; with `workers` 0 a process that trains alone, which is called 'alone'."""
    self._command = command
    self.lines: list[str] = []
    self.members: dict[str, Member] = {}
    tasks = local.configurations(workers, servers, False) if workers else {'alone': ''}
    for name, configuration in tasks.items():
      self.start(name, configuration)

  def start(self, name: str, configuration: str) -> None:
    """Starts a process."""
    self.members[name] = local.start(name, configuration, self._command, self.lines.append)

  def kill(self, name: str) -> None:
    """Kills a process as a power cut does."""
    self.members[name].signal(signal.SIGKILL)
    self.members[name].process.wait()

  def restart(self, name: str) -> None:
    """Starts a process again at its address."""
    self.start(name, self.members[name].configuration)

  def wait(self) -> dict[str, int]:
    """Waits until all have ended, and returns their exit statuses by name; -9 if killed."""
    deadline = time.monotonic() + LIMIT
    while any(m.process.poll() is None for m in self.members.values()):
      if time.monotonic() > deadline:
        break
      time.sleep(0.05)
    self.close()
    return {name: member.process.returncode for name, member in self.members.items()}

  def close(self) -> None:
    """Ends what still runs."""
    for member in self.members.values():
      member.signal(signal.SIGKILL)
      member.process.wait()
      member.printing.join(timeout=5)

  def steps(self) -> dict[str, tuple[int, int]]:
    """The number of updates at which each process that trains has ended, and that of its own."""
    found = re.findall(
      r'\] (\w+(?: \d)?) ended at step (\d+) of \d+ after (\d+)', ''.join(self.lines)
    )
    return {name: (int(step), int(own)) for name, step, own in found}

  def cpu_seconds(self) -> float:
    """The CPU seconds that the processes have used so far."""
    ticks = 0
    for member in self.members.values():
      fields = (
        pathlib.Path(f'/proc/{member.process.pid}/stat').read_text().rpartition(')')[2].split()
      )
      ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf('SC_CLK_TCK')


class Watch:
  """Reads the global step of a run from its parameter server, as often as it can."""

  def __init__(self, cluster: Cluster) -> None:
    """Starts a thread that reads."""
    spec = json.loads(cluster.members['ps 0'].configuration)['cluster']
    self._address = spec['ps'][0]
    self.step = -1
    self._stop = False
    self._thread = threading.Thread(target=self._read, daemon=True)
    self._thread.start()

  def _read(self) -> None:
    with tf.Graph().as_default(), tf.device('/job:ps/task:0'):
      step = tf.get_variable('global_step', [], tf.int64, use_resource=True).read_value()
      config = tf.ConfigProto(device_filters=['/job:ps'])
      while not self._stop:
        try:
          with tf.Session(f'grpc://{self._address}', config=config) as session:
            while not self._stop:
              self.step = int(session.run(step))
              time.sleep(0.02)
        except tf.errors.OpError:
          time.sleep(0.1)

  def reach(self, step: int) -> None:
    """Waits until the run is that far; raises TimeoutError if that takes too long."""
    deadline = time.monotonic() + LIMIT
    while self.step < step:
      if time.monotonic() > deadline:
        raise TimeoutError(f'step {step} was not reached, the last was {self.step}')
      time.sleep(0.01)

  def close(self) -> None:
    """Ends the thread."""
    self._stop = True
    self._thread.join(timeout=5)


def command(folder: pathlib.Path, data: pathlib.Path, *flags: str) -> list[str]:
  """The command line of a training of the small model."""
  return [
    *(sys.executable, '-m', 'hypertransformer.train', f'--data_numpy_dir={data}'),
    *(f'--train_log_dir={folder}', *SMALL, *flags),
  ]


def make_data(folder: pathlib.Path) -> None:
  """Writes images of 30 classes, a pattern each, with noise."""
  rng = np.random.default_rng(5)
  patterns = rng.integers(0, 180, (30, 1, 12, 12, 1))
  np.save(folder / 'tiny.npy', (patterns + rng.integers(0, 76, (30, 8, 12, 12, 1))).astype('uint8'))


def newest(folder: pathlib.Path) -> int:
  """The step of the newest checkpoint; -1 if there is none."""
  return max((int(p.stem.partition('-')[2]) for p in folder.glob('model-*.index')), default=-1)


def repeat(place: pathlib.Path, times: int, synchronous: bool) -> str:
  """The parts sync and async."""
  rows = ['| run | exit statuses | chief: updates, own steps | worker 0 | checkpoint | left over |']
  rows.append('|---|---|---|---|---|---|')
  good = 0
  for number in range(times):
    folder = place / f'repeat_{synchronous}_{number}'
    flags = ['--train_steps=300', *(['--sync_replicas'] if synchronous else [])]
    cluster = Cluster(command(folder, place, *flags))
    statuses = cluster.wait()
    steps = cluster.steps()
    left = sum(m.process.poll() is None for m in cluster.members.values())
    ended = list(statuses.values()) == [0, 0, 0] and not left and len(steps) == 2
    right = [300] * 3 if synchronous else range(300, 302)
    exact = ended and all(
      step in right for step in (newest(folder), *(step for step, _ in steps.values()))
    )
    good += exact
    rows.append(
      f'| {number + 1} | {" ".join(map(str, statuses.values()))} | {steps.get("chief")} | '
      f'{steps.get("worker 0")} | {newest(folder)} | {left} |'
    )
    print(rows[-1], flush=True)
  wanted = 'all at step 300' if synchronous else 'all at step 300 or 301'
  return (
    f'{good} of {times} runs ended with status 0, {wanted}, and no process left.\n\n'
    + '\n'.join(rows)
  )


def equal(place: pathlib.Path) -> str:
  """The part equal."""
  rows = ['| updates | largest difference of a variable | largest value |', '|---|---|---|']
  begin = place / 'begin'
  Cluster(command(begin, place, '--train_steps=1'), 0).wait()
  flags = ['--dropout_rate=0.2']
  for steps in (1, 10, 50):
    found = []
    for name, workers, further in (
      ('alone', 0, '--episodes_per_step=2'),
      ('together', 2, '--sync_replicas'),
    ):
      folder = place / f'equal_{name}_{steps}'
      folder.mkdir()
      for path in begin.glob('model-0.*'):
        shutil.copy(path, folder)
      cluster = Cluster(command(folder, place, f'--train_steps={steps}', *flags, further), workers)
      cluster.wait()
      reader = tf.train.load_checkpoint(str(folder / f'model-{steps}'))
      found.append({n: reader.get_tensor(n) for n in reader.get_variable_to_shape_map()})
    one, other = found
    assert one.keys() == other.keys()
    worst = max(float(np.abs(one[name] - other[name]).max()) for name in one)
    largest = max(
      float(np.abs(value).max()) for name, value in one.items() if name != 'global_step'
    )
    rows.append(f'| {steps} | {worst:.1e} | {largest:.2f} |')
    print(rows[-1], flush=True)
  return '\n'.join(rows)


def kill(place: pathlib.Path, times: int, roles: list[str]) -> str:
  """The part kill."""
  rows = [
    '| killed | mode | at update | goes on from | lost | s until then | exit statuses | last |',
    '|---|---|---|---|---|---|---|---|',
  ]
  rng = random.Random(7)
  for number in range(times):
    for role in [f'{name} 0' for name in roles]:
      synchronous = number % 2 == 0
      total = 400 if synchronous else 4000
      folder = place / f'kill_{role[0]}_{number}'
      flags = [f'--train_steps={total}', '--steps_between_saves=100']
      flags += ['--sync_replicas'] if synchronous else []
      cluster = Cluster(command(folder, place, *flags))
      watch = Watch(cluster)
      watch.reach(rng.randint(20, total // 4))
      cluster.kill(role)
      at = watch.step
      start = time.monotonic()
      statuses = {}
      if role == 'ps 0':
        watch.close()
        statuses = cluster.wait()  # the others end by themselves
        statuses.pop(role)
        said = sum('A parameter server was lost' in line for line in cluster.lines)
        cluster = Cluster(command(folder, place, *flags))
        watch = Watch(cluster)
      else:
        said = 0
        cluster.restart(role)
      resumed = _resumed(cluster, role, watch)
      seconds = time.monotonic() - start
      ended = {**cluster.wait()}
      watch.close()
      first = (
        f'{" ".join(map(str, statuses.values()))} ({said} messages), then ' if statuses else ''
      )
      restored = re.findall(r'Resuming from checkpoint \S*model-(\d+)', ''.join(cluster.lines))
      if role != 'worker 0':  # other workers may have made updates since it was restored
        resumed = int(restored[-1]) if restored else 0
      lost = max(at - resumed, 0) if role != 'worker 0' else 'its own step'
      rows.append(
        f'| {role} | {"sync" if synchronous else "async"} | {at} | {resumed} | {lost} | '
        f'{seconds:.0f} | {first}{" ".join(map(str, ended.values()))} | '
        f'{newest(folder)} of {total} |'
      )
      print(rows[-1], flush=True)
  return '\n'.join(rows)


def _resumed(cluster: Cluster, role: str, watch: Watch) -> int:
  """Waits until the process that was started again joins; returns the step, -1 if it does not."""
  pattern = r'joins at step (\d+)'
  name = 'worker' if role == 'worker 0' else 'chief'
  seen = 1 if role == 'ps 0' else 2
  deadline = time.monotonic() + LIMIT
  running = True
  while running and time.monotonic() < deadline:
    running = any(member.process.poll() is None for member in cluster.members.values())
    found = [
      match[1]
      for line in list(cluster.lines)
      if line.startswith(f'[{name} 0]') and (match := re.search(pattern, line))
    ]
    if len(found) >= seen:
      return int(found[-1])
    time.sleep(0.05)
  return -1


def speed(place: pathlib.Path, data: str, measured: int) -> str:
  """The part speed."""
  rows = [
    '| processes | updates/s | episodes/s | CPU ms per update | per episode | episodes per CPU s |',
    '|---|---|---|---|---|---|',
  ]
  run = ['bash', str(ROOT / 'scripts/omniglot_1shot_v2.sh'), f'--data_numpy_dir={data}', '--seed=1']
  for name, workers, flags, each in (
    ('one, without a cluster', 0, [], 1),
    ('chief + ps', 1, [], 1),
    ('chief + worker + ps, asynchronous', 2, [], 1),
    ('chief + worker + ps, synchronous', 2, ['--sync_replicas'], 2),
    ('one, --episodes_per_step=8', 0, ['--episodes_per_step=8'], 8),
    ('chief + worker + ps, synchronous, --episodes_per_step=8', 2,
     ['--sync_replicas', '--episodes_per_step=8'], 16),
  ):  # fmt: skip
    folder = place / f'speed_{workers}_{len(rows)}'
    saves = ['--train_steps=1000000', '--steps_between_saves=50']
    cluster = Cluster([*run, f'--train_log_dir={folder}', *saves, *flags], workers)
    _reach(folder, 50)
    first, wall, cpu = newest(folder), time.monotonic(), cluster.cpu_seconds()
    _reach(folder, first + (measured if each < 8 else measured // 4))
    updates = newest(folder) - first
    wall, cpu = time.monotonic() - wall, cluster.cpu_seconds() - cpu
    cluster.close()
    rows.append(
      f'| {name} | {updates / wall:.1f} | {each * updates / wall:.1f} | '
      f'{1e3 * cpu / updates:.1f} | '
      f'{1e3 * cpu / updates / each:.1f} | {each * updates / cpu:.1f} |'
    )
    print(rows[-1], flush=True)
  return '\n'.join(rows)


def _reach(folder: pathlib.Path, step: int) -> None:
  """Waits for a checkpoint; raises TimeoutError after a long time."""
  deadline = time.monotonic() + LIMIT
  while newest(folder) < step:
    if time.monotonic() > deadline:
      raise TimeoutError(f'no checkpoint of step {step} in {folder}')
    time.sleep(0.02)


def learn(place: pathlib.Path, data: str, episodes: int) -> str:
  """The part learn."""
  run = ['bash', str(ROOT / 'scripts/omniglot_1shot_v2.sh'), f'--data_numpy_dir={data}', '--seed=1']
  curves = []
  for workers in (0, 2):
    folder = place / f'learn_{workers}'
    Cluster([*run, f'--train_log_dir={folder}', f'--train_steps={episodes}'], workers).wait()
    curves.append(windows(folder / 'train', episodes // 8))
  return side_by_side(*curves)


def windows(folder: pathlib.Path, length: int) -> dict[int, dict[str, float]]:
  """Means of the scalars of a run over windows of so many updates, by the end of the window."""
  found: dict[int, dict[str, list[float]]] = {}
  for path in sorted(folder.glob('events.*')):
    for event in tf.train.summary_iterator(str(path)):
      for value in event.summary.value:
        if value.tag in ('loss/loss', 'accuracy/accuracy', 'accuracy/test_accuracy'):
          end = -(-event.step // length) * length
          found.setdefault(end, {}).setdefault(value.tag, []).append(value.simple_value)
  return {
    end: {tag: float(np.mean(values)) for tag, values in tags.items()}
    for end, tags in sorted(found.items())
  }


def side_by_side(alone: dict[int, dict[str, float]], together: dict[int, dict[str, float]]) -> str:
  """The windows of two runs as a table."""
  rows = [
    '| updates up to | loss: one process | 2 workers | accuracy, %: one process | 2 workers | '
    'test accuracy, %: one process | 2 workers |',
    '|---|---|---|---|---|---|---|',
  ]
  for end in sorted(alone.keys() & together.keys()):
    one, two = alone[end], together[end]
    cells = [f'{one["loss/loss"]:.3f}', f'{two["loss/loss"]:.3f}']
    for tag in ('accuracy/accuracy', 'accuracy/test_accuracy'):
      cells += [f'{100 * one[tag]:.1f}', f'{100 * two[tag]:.1f}']
    rows.append(f'| {end} | {" | ".join(cells)} |')
  return '\n'.join(rows)


def main() -> None:
  """Runs the parts that were asked for, and writes a page for each."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawTextHelpFormatter
  )
  parser.add_argument('--output', type=pathlib.Path, required=True)
  parser.add_argument('--parts', default='sync,async,equal,kill,speed,learn')
  parser.add_argument('--times', type=int, default=10)
  parser.add_argument('--kills', type=int, default=5)
  parser.add_argument('--roles', default='worker,chief,ps', help='what `kill` kills')
  parser.add_argument('--measured', type=int, default=400, help='updates that `speed` measures')
  parser.add_argument('--episodes', type=int, default=4000, help='updates of `learn`')
  parser.add_argument('--data_numpy_dir', default='data_numpy_dir')
  chosen = parser.parse_args()
  os.environ['PYTHONPATH'] = str(ROOT)  # of the processes that are started
  os.environ['PYTHON'] = sys.executable
  tf.disable_eager_execution()
  chosen.output.mkdir(parents=True, exist_ok=True)
  data = os.path.abspath(chosen.data_numpy_dir)
  parts: dict[str, Callable[[pathlib.Path], str]] = {
    'sync': lambda place: repeat(place, chosen.times, True),
    'async': lambda place: repeat(place, chosen.times, False),
    'equal': equal,
    'kill': lambda place: kill(place, chosen.kills, chosen.roles.split(',')),
    'speed': lambda place: speed(place, data, chosen.measured),
    'learn': lambda place: learn(place, data, chosen.episodes),
  }
  for name in chosen.parts.split(','):
    with tempfile.TemporaryDirectory() as folder:
      make_data(pathlib.Path(folder))
      text = parts[name](pathlib.Path(folder))
    (chosen.output / f'{name}.md').write_text(f'{text}\n')


if __name__ == '__main__':
  main()
