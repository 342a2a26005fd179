"""Where the evaluator reads and writes. TensorFlow is not imported here."""

from __future__ import annotations

import dataclasses
import pathlib


@dataclasses.dataclass(frozen=True)
class Places:
  """The folders and files of the evaluator.

  Attributes:
    log_dir: the folder of the training (--train_log_dir), which holds its checkpoints.
  """

  log_dir: str

  @property
  def eval_dir(self) -> pathlib.Path:
    """The folder of results, tables and TensorBoard events."""
    return pathlib.Path(self.log_dir) / 'eval'

  @property
  def best_dir(self) -> pathlib.Path:
    """The folder of the best checkpoint."""
    return pathlib.Path(self.log_dir) / 'best'

  @property
  def results(self) -> pathlib.Path:
    """The file of all results."""
    return self.eval_dir / 'results.jsonl'

  @property
  def table(self) -> pathlib.Path:
    """The CSV file of the results on sequences of tasks."""
    return self.eval_dir / 'continual.csv'
