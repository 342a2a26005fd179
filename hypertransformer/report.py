"""Report what trainings and their evaluations found: accuracies, learning curves, flags, speed.

  hypertransformer report logs/quickstart --output=report.html

The arguments are the directories of the runs. It prints tables; with --output it writes a page
(.html), Markdown with figures beside it (.md), or the numbers alone (.csv). Runs whose flags differ
in nothing but the seed are averaged.
"""

from __future__ import annotations

if __name__ == '__main__':
  from hypertransformer import startup

  startup.start()

import importlib.util
import os
from collections.abc import Sequence

from absl import flags, logging

from hypertransformer import cli
from hypertransformer.errors import require

LIBRARIES = ('matplotlib', 'pandas', 'jinja2')  # of the extra `report`


def main(folders: Sequence[str], output: str | None) -> None:
  """Print or write the report of the runs in some directories.

  Args:
    folders: the --train_log_dir of each run.
    output: the file to write; None prints the report.

  Raises:
    InputError: no directory is given, one of them cannot be reported, a library is missing, or the
      file cannot be written.
  """
  require(bool(folders), 'no run is given: hypertransformer report LOG_DIR ...')
  missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
  require(
    not missing, f'{", ".join(missing)} cannot be imported: pip install "hypertransformer[report]".'
  )
  os.environ['MPLBACKEND'] = 'agg'  # that of a notebook cannot be used here
  cli.import_tensorflow()  # TensorBoard's readers of event files use it
  from hypertransformer.reports import page

  logging.set_verbosity(logging.WARNING)  # TensorBoard's readers log every file at INFO
  if output is None:
    print(page.text(folders))
  else:
    for path in page.write(folders, output):
      print(f'wrote {path}')


if __name__ == '__main__':
  OUTPUT = flags.DEFINE_string(
    'output', None, 'The file to write: .html, .md or .csv. Default: print the report as text.'
  )
  cli.run_with_arguments(lambda folders: main(folders, OUTPUT.value))
