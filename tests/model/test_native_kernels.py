"""Convolutions whose native kernels are known to be wrong.

Each is tried in a process of its own, as it can crash.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

REPO = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = """
import itertools
import numpy as np
import tensorflow.compat.v1 as tf
from hypertransformer.model import layers
tf.disable_eager_execution()
for (side, stride), threads in itertools.product([(12, 2), (10, 3)], [1, 2]):
  rng = np.random.default_rng(3)
  out = -(-side // stride)
  x, dy = (rng.normal(size=(9, n, n, 3)).astype(np.float32) for n in (side, out))
  expected = np.einsum('nhwi,nhwo->io', x[:, ::stride, ::stride].astype(float), dy)
  with tf.Graph().as_default():
    images = tf.placeholder(tf.float32, x.shape)
    y = layers.conv2d(images, 3, 1, 'one', stride, use_bias=False)
    kernel, = tf.trainable_variables()
    gradient, = tf.gradients(tf.reduce_sum(y * dy), kernel)
    with tf.Session(config=tf.ConfigProto(intra_op_parallelism_threads=threads)) as session:
      session.run(tf.global_variables_initializer())
      for _ in range(20):
        found = session.run(gradient, {images: x})
        np.testing.assert_allclose(
          found[0, 0], expected, rtol=1e-4, atol=1e-4, err_msg=f'{side} {stride} {threads}'
        )
"""


@pytest.mark.parametrize('isa', ['', 'AVX2'])
def test_the_gradient_of_a_one_pixel_kernel_with_a_stride_is_right(isa: str) -> None:
  environment = {'PYTHONPATH': str(REPO), **({'ONEDNN_MAX_CPU_ISA': isa} if isa else {})}
  done = subprocess.run(
    [sys.executable, '-c', PROGRAM],
    env=os.environ | environment,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr[-2000:]
