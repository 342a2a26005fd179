"""Compares ours with the original's recorded numbers: `python utils/check_parity.py
../shared/golden/a*.npz`.

Takes model cases (aNN.npz), augment.npz, label_shuffle.json and schedule.json, in any order. Prints
one line per
file: name, worst relative error and its key, pass or fail; below it up to three entries that
failed. Exit status: 0 all pass, 1 a file fails or has an entry that was not compared, 2 a file
cannot be read.
"""

from __future__ import annotations

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

from hypertransformer import errors
from hypertransformer.original import checks, model_cases

SHOWN_FAILURES = 3


def main(paths: list[str]) -> int:
  """Checks the files; returns the exit status."""
  if '--help' in paths:
    print(__doc__)
    return 0
  if not paths:
    print(__doc__, file=sys.stderr)
    return 2
  status = 0
  for path in paths:
    try:
      results = checks.check(path)
    except errors.InputError as error:
      print(f'{os.path.basename(path)}  FAIL  {error}', flush=True)
      status = max(status, 1 if isinstance(error, model_cases.NotComparable) else 2)
      continue
    except Exception as error:  # whatever is wrong with one file, the others are checked
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
