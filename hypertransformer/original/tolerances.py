"""How near is near enough: the tolerances of ../shared/golden/README.md.

They come from running the original twice with different builds; the larger cases differ more, most
of all in gradients (ReLU and max-pool ties). A case's size is taken from its query batch, so new
files need no entry here.
"""

from __future__ import annotations

import dataclasses
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np


@dataclasses.dataclass(frozen=True)
class Limits:
  """scaled: of activations and logits; loss: relative; grad_elem: of the case's largest entry;
  grad_all: rel. L2.
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
WEIGHTS = 1e-4
# What reading a broken or foreign .npz raises.
BAD_NPZ = (
  OSError,
  ValueError,
  KeyError,
  EOFError,
  TypeError,
  AttributeError,
  zlib.error,
  zipfile.BadZipFile,
)
EXACT_SCALARS = 1e-5  # regularisation, shared features, shared head
WARMUP_ABSOLUTE = 1e-6


@dataclasses.dataclass(frozen=True)
class Comparison:
  """One compared entry: its relative error and how much is allowed; note: what is wrong, if not a
  number.
  """

  key: str
  error: float
  allowed: float
  note: str = ''

  @property
  def passed(self) -> bool:
    return bool(self.error <= self.allowed)

  @property
  def severity(self) -> float:
    """Error over what is allowed: above 1 is a failure."""
    if np.isnan(self.error):
      return np.inf
    return self.error / self.allowed if self.allowed else (np.inf if self.error else 0.0)

  def __str__(self) -> str:
    return f'{self.key}: {self.note or f"error {self.error:.2e}, allowed {self.allowed:.0e}"}'


def limits(arrays: Mapping[str, np.ndarray]) -> Limits:
  """The row for a case, by the pixels of its query batch (of its support batch where it has no
  query).
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
  return EXACT_SCALARS


def compare(
  key: str, ours: np.ndarray, expected: np.ndarray, row: Limits, like: str = ''
) -> Comparison:
  """Largest difference over the largest expected entry (absolute for the warm-up weights)."""
  kind = like or key
  if ours.shape != expected.shape:
    return Comparison(key, np.inf, 0.0, f'shape {ours.shape}, expected {expected.shape}')
  difference = float(np.max(np.abs(ours.astype(np.float64) - expected), initial=0.0))
  if not np.isfinite(difference):
    return Comparison(key, np.inf, 0.0, 'not finite')
  if kind == 'out/warmup_weights':
    return Comparison(key, difference, WARMUP_ABSOLUTE)
  scale = float(np.max(np.abs(expected), initial=0.0))
  return Comparison(key, difference / scale if scale else difference, _allowed(kind, row))


def compare_gradients(
  expected: Mapping[str, np.ndarray], ours: Mapping[str, np.ndarray], row: Limits
) -> list[Comparison]:
  """Each tensor against the largest entry of the case, and all of them together by relative L2
  norm.
  """
  known = {
    name: array
    for name, array in expected.items()
    if name in ours and ours[name].shape == array.shape
  }
  results = [
    Comparison(f'grad/{name}', np.inf, 0.0, 'not compared')
    for name in expected
    if name not in known
  ]
  if not known:
    return results
  largest = max(float(np.abs(array).max()) for array in known.values())
  squares = total = 0.0
  for name, array in known.items():
    difference = ours[name].astype(np.float64) - array
    results.append(
      Comparison(f'grad/{name}', float(np.abs(difference).max()) / largest, row.grad_elem)
    )
    squares += float(np.sum(difference**2))
    total += float(np.sum(np.square(array, dtype=np.float64)))
  return [*results, Comparison('grad/ (all together)', (squares / total) ** 0.5, row.grad_all)]


def compare_sets(key: str, ours: set[str], expected: set[str]) -> Comparison:
  """Two sets of names."""
  odd = sorted(ours ^ expected)
  note = f'{len(odd)} names differ, such as {odd[0]}' if odd else ''
  return Comparison(key, np.inf if odd else 0.0, 0.0, note)
