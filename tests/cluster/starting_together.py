"""Starts two parameter servers and a chief within a second, several times; see test_board.py.

Prints a line for each time: what the second server answers that needs the first one.
"""

from __future__ import annotations

import os
import signal
import time

import tensorflow.compat.v1 as tf

from hypertransformer.cluster import server, tasks
from hypertransformer.commands import launch
from hypertransformer.runtime import sessions

TIMES = 6
# Seconds until each starts. The second server looks for the first one before that is there.
DELAYS = {'ps 1': 0.0, 'ps 0': 0.2, 'chief 0': 0.3}


def ask(task: tasks.Task, target: str) -> str:
  """Asks the second server for something that it must get from the first one."""
  with tf.Graph().as_default() as graph:
    with tf.device('/job:ps/task:0'):
      queue = tf.FIFOQueue(1, [tf.int32], [[]], shared_name='numbers')
      put, number = queue.enqueue(5), queue.dequeue()
    with tf.device('/job:ps/task:1'):
      answer = tf.add(number, 1)
    session = tf.Session(target, config=sessions.config(graph, sees=task.sees))
    try:
      session.run(put)
      return f'answer {session.run(answer)}'
    except tf.errors.UnavailableError as error:
      return f'unavailable: {error}'.replace('\n', ' ')


def take_part(configuration: str, delay: float) -> None:
  """Is a process of the cluster, with this TF_CONFIG."""
  os.environ['TF_CONFIG'] = configuration
  resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
  task = tasks.task_from(configuration, resolver)
  assert task is not None
  time.sleep(delay)
  target = server.join(task).target
  if task.type == tasks.CHIEF:
    print(ask(task, target), flush=True)
    os._exit(0)
  time.sleep(60)


def main() -> None:
  tf.disable_eager_execution()
  for _ in range(TIMES):
    processes = {}
    for name, configuration in launch.configurations(1, 2, False).items():
      processes[name] = os.fork()
      if processes[name] == 0:
        take_part(configuration, DELAYS[name])
    os.waitpid(processes.pop('chief 0'), 0)
    for process in processes.values():
      os.kill(process, signal.SIGKILL)
      os.waitpid(process, 0)


if __name__ == '__main__':
  main()
