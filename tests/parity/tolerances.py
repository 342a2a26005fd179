"""Says how near a number must be to the original's, and compares numbers accordingly.

The tolerances are those of docs/parity.md. They come from running the original twice, in different
builds. Larger cases differ more, most of all in gradients, because at rounding level a relu or a
max-pool may choose the other side. The size of a case is taken from its query batch, so that new
files need no entry here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np


@dataclasses.dataclass(frozen=True)
class Limits:
  """What is allowed in cases of one size.

  Attributes:
    max_query_pixels: the most pixels of a query batch (images x height x width) of this size.
    scaled: largest error of activations and logits, divided by the largest entry of the tensor.
    loss: largest relative error of a loss.
    grad_elem: largest error of an entry of a gradient, divided by the largest entry of all
      gradients of the case.
    grad_all: largest error of all gradients together, in L2 norm, divided by their L2 norm.
  """

  max_query_pixels: float
  scaled: float
  loss: float
  grad_elem: float
  grad_all: float


LIMITS = (
  Limits(20_000, 1e-4, 1e-5, 2e-4, 2e-4),  # a04-a24
  Limits(60_000, 5e-4, 5e-5, 1e-3, 1e-3),  # a01
  Limits(200_000, 5e-4, 5e-5, 3e-2, 1e-2),  # a02
  Limits(np.inf, 5e-4, 5e-5, 3e-2, 2e-2),  # a03
)
WEIGHTS = 1e-4  # of generated weight blocks, divided by the largest entry of the tensor
EXACT_SCALARS = 1e-5  # of regularisation, shared features and real-class head, relative
# Of single regularization terms, relative: two builds of the original differ by 1.17e-5 in models
# with one channel.
REGULARISATION_TERMS = 2e-5
WARMUP_ABSOLUTE = 1e-6  # of the weights of warm-up heads


@dataclasses.dataclass(frozen=True)
class Comparison:
  """The comparison of one entry.

  Attributes:
    key: name of the entry.
    error: how far our value is from the recorded one, in the measure that belongs to the entry;
      infinite if they cannot be compared.
    allowed: the largest error that passes.
    note: what is wrong, if the error alone does not tell; '' otherwise.
  """

  key: str
  error: float
  allowed: float
  note: str = ''

  @property
  def passed(self) -> bool:
    """Whether the error is allowed."""
    return bool(self.error <= self.allowed)

  @property
  def severity(self) -> float:
    """The error divided by what is allowed: above 1 it is a failure."""
    return self.error / self.allowed if self.allowed else (np.inf if self.error else 0.0)

  def __str__(self) -> str:
    return f'{self.key}: {self.note or f"error {self.error:.2e}, allowed {self.allowed:.0e}"}'


def limits(arrays: Mapping[str, np.ndarray]) -> Limits:
  """Returns the row of LIMITS for a case, by the number of pixels in its query batch.

  A case without a query batch is measured by its support batch.

  Args:
    arrays: the arrays of the case by key.

  Raises:
    ValueError: the case has no images.
  """
  for key in ('in/query_images', 'in/query_images_u8', 'in/support_images', 'in/support_images_u8'):
    if key in arrays:
      pixels = np.prod(arrays[key].shape[:3])
      return next(row for row in LIMITS if pixels <= row.max_query_pixels)
  raise ValueError('a golden case without images')


def _allowed(key: str, row: Limits) -> float:
  if key.startswith('out/weights/'):
    return WEIGHTS
  if key in ('out/loss', 'out/ce', 'out/ce_terms'):
    return row.loss
  if key.startswith(
    ('out/layer/', 'out/logits', 'out/eval_logits', 'out/test_logits', 'out/head_logits/')
  ):
    return row.scaled
  return REGULARISATION_TERMS if key == 'out/reg_terms' else EXACT_SCALARS


def largest_difference(ours: np.ndarray, expected: np.ndarray) -> float:
  """Return the largest absolute difference; inf if the shapes differ or a value is NaN or inf."""
  if ours.shape != expected.shape:
    return np.inf
  largest = float(np.max(np.abs(ours.astype(np.float64) - expected), initial=0.0))
  return largest if np.isfinite(largest) else np.inf


def compare(
  key: str, ours: np.ndarray, expected: np.ndarray, row: Limits, like: str = ''
) -> Comparison:
  """Compare a tensor with the recorded one.

  The error is the largest difference, divided by the largest recorded entry unless that is 0. The
  weights of warm-up heads are not divided.

  Args:
    key: key of the recorded tensor.
    ours: what we compute.
    expected: what was recorded.
    row: the limits for cases of this size.
    like: key of the output whose tolerance applies, if it is another one.
  """
  kind = like or key
  difference = largest_difference(ours, expected)
  if kind == 'out/warmup_weights':
    return Comparison(key, difference, WARMUP_ABSOLUTE)
  scale = float(np.max(np.abs(expected), initial=0.0)) or 1.0
  return Comparison(key, difference / scale, _allowed(kind, row))


def compare_gradients(
  expected: Mapping[str, np.ndarray], ours: Mapping[str, np.ndarray], row: Limits
) -> list[Comparison]:
  """Compare every recorded gradient by itself, and all of them together.

  Args:
    expected: recorded gradients by the name of the variable.
    ours: what we compute, by name.
    row: the limits for cases of this size.
  """
  if not expected:
    return []
  largest = max(float(np.abs(array).max()) for array in expected.values())
  results, squares, total = [], 0.0, 0.0
  for name, array in expected.items():
    error = largest_difference(ours[name], array) / largest
    results.append(Comparison(f'grad/{name}', error, row.grad_elem))
    squares += float(np.sum(np.square(ours[name] - array, dtype=np.float64)))
    total += float(np.sum(np.square(array, dtype=np.float64)))
  return [*results, Comparison('grad/ (all together)', (squares / total) ** 0.5, row.grad_all)]


def compare_sets(key: str, ours: set[str], expected: set[str]) -> Comparison:
  """Compare two sets of names, which must be equal."""
  odd = sorted(ours ^ expected)
  note = f'{len(odd)} names differ, such as {odd[0]}' if odd else ''
  return Comparison(key, np.inf if odd else 0.0, 0.0, note)
