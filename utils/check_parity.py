"""Compares what this project computes with numbers that were recorded from the original.

  python utils/check_parity.py [--xla] ../shared/golden/a*.npz

The files may be cases of the model (aNN.npz), augment.npz, label_shuffle.json and schedule.json, in
any order. For each file one line is printed: its name, pass or FAIL, and the worst error with what
is allowed and the entry that has it. Below it are up to three entries that failed. With --xla the
models run as in a training with --xla.

The exit status is 0 if all files pass; 1 if a file fails or has an entry that was not compared; and
2 if a file cannot be read.
"""

from __future__ import annotations

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from hypertransformer import cli

if __name__ == '__main__':
  cli.import_tensorflow()

from hypertransformer import errors
from tests.parity import checks

SHOWN_FAILURES = 3


def main(paths: list[str]) -> int:
  """Checks the files and returns the exit status."""
  if '--help' in paths:
    print(__doc__)
    return 0
  xla = '--xla' in paths
  paths = [path for path in paths if path != '--xla']
  if not paths:
    print(__doc__, file=sys.stderr)
    return 2
  status = 0
  for path in paths:
    try:
      results = checks.check(path, xla)
    except errors.InputError as error:
      print(f'{os.path.basename(path)}  FAIL  {error}', flush=True)
      status = 2
      continue
    except Exception as error:  # whatever is wrong with one file, the others are still checked
      print(
        f'{os.path.basename(path)}  FAIL  cannot be compared: {type(error).__name__}: {error}',
        flush=True,
      )
      status = max(status, 1)
      continue
    print(checks.line(path, results), flush=True)
    for failed in [result for result in results if not result.passed][:SHOWN_FAILURES]:
      print(f'    {failed}')
      status = max(status, 1)
  return status


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
