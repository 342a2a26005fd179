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
import sys
import numpy as np
import tensorflow.compat.v1 as tf
from hypertransformer.model import layers
tf.disable_eager_execution()
rng = np.random.default_rng(3)
side, stride, threads = map(int, sys.argv[1:])
out = -(-side // stride)
x, dy = (rng.normal(size=(9, n, n, 3)).astype(np.float32) for n in (side, out))
images = tf.placeholder(tf.float32, x.shape)
y = layers.conv2d(images, 3, 1, 'one', stride, use_bias=False)
kernel, = tf.trainable_variables()
gradient, = tf.gradients(tf.reduce_sum(y * dy), kernel)
expected = np.einsum('nhwi,nhwo->io', x[:, ::stride, ::stride].astype(float), dy)
with tf.Session(config=tf.ConfigProto(intra_op_parallelism_threads=threads)) as session:
  session.run(tf.global_variables_initializer())
  for _ in range(20):
    found = session.run(gradient, {images: x})
    np.testing.assert_allclose(found[0, 0], expected, rtol=1e-4, atol=1e-4)
"""


@pytest.mark.parametrize(('isa', 'threads'), [('', 2), ('AVX2', 1), ('AVX2', 2)])
@pytest.mark.parametrize(('side', 'stride'), [(12, 2), (10, 3)])
def test_the_gradient_of_a_one_pixel_kernel_with_a_stride_is_right(
  isa: str, threads: int, side: int, stride: int
) -> None:
  environment = {
    **os.environ,
    'PYTHONPATH': str(REPO),
    **({'ONEDNN_MAX_CPU_ISA': isa} if isa else {}),
  }
  done = subprocess.run(
    [sys.executable, '-c', PROGRAM, str(side), str(stride), str(threads)],
    env=environment,
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr[-2000:]
