"""Reports what training and evaluation found, of runs in folders or of one run by its flags.

  python -m hypertransformer.report LOG_DIR [LOG_DIR ...] --output=report.html

writes a page about the runs in these folders: figures, tables, and the flags in which they differ.

  python -m hypertransformer.report [the flags of the training]

prints a table of what the evaluator found, beside chance and a simple baseline, which gives a query
image the label of the support image whose pixels are nearest.
"""

from __future__ import annotations

if __name__ == '__main__':
  from hypertransformer import cli

  cli.import_tensorflow()

from collections.abc import Sequence

from absl import flags, logging

from hypertransformer import cli
from hypertransformer.episodes.sampling import EpisodeSampler
from hypertransformer.errors import InputError
from hypertransformer.evaluation import measured, missed, pixel_baseline, sequence_table
from hypertransformer.evaluation.measured import Measured, ResultFile, newest
from hypertransformer.evaluation.metrics import mean_and_ci95, percent
from hypertransformer.evaluation.places import Places
from hypertransformer.evaluation.presets import OpenClasses, presets_from
from hypertransformer.evaluation.results import Line
from hypertransformer.reports import writing
from hypertransformer.settings.config import Settings

BASELINE_TASKS = 200  # on which the baseline is measured, for each row
COLUMNS = '{:<8} {:>9} {:>9} {:>20} {:>20} {:>20}  {}'
Found = tuple[Measured, Line]  # a result, and what it was measured on


def main(settings: Settings) -> None:
  """Prints the results of the newest evaluated checkpoint of each preset.

  Single tasks have a row for each preset and all that was measured on, such as 1-shot and 5-shot
  tasks. Sequences of tasks have a table for each. Presets that the flags do not name come last.

  Raises:
    InputError: nothing has been evaluated yet, or --eval_datasets cannot be used.
  """
  places = Places(settings.run.log_dir)
  lines = ResultFile(places.results).read()
  if not lines:
    raise InputError(
      f'{places.results} holds no results: run python -m hypertransformer.evaluate_model with the '
      'same flags.'
    )
  presets = presets_from(settings.data)
  named = [preset.name for preset in presets]
  by_preset = sorted(
    newest(lines).items(),
    key=lambda item: named.index(item[0][0]) if item[0][0] in named else len(named),
  )
  found = [(on, line) for (_, on), line in by_preset]
  ways = settings.episodes.num_labels
  classes = OpenClasses(settings.data, presets)
  _print_tasks([each for each in found if 'continual' not in each[1]], classes, ways)
  sequences = [each for each in found if 'continual' in each[1]]
  remarks = measured.differences([on for on, _ in sequences])
  for (_, line), remark in zip(sequences, remarks, strict=True):
    print('\n' + sequence_table.text(line, ways, remark))
  left_out = str(missed.find(places.log_dir, lines))
  if left_out:
    print(f'\n{left_out}')


def _print_tasks(found: list[Found], classes: OpenClasses, ways: int) -> None:
  """Prints a row for each result, and nothing if there is none for single tasks.

  Args:
    found: the results.
    classes: the images that results are about.
    ways: the classes of a task, for results of older versions, which do not say so.
  """
  if not found:
    return
  print('\n95 % intervals over tasks; accuracy* leaves out query images that are support images')
  print(
    COLUMNS.format(
      'classes', 'step', 'chance', 'nearest pixels*', 'accuracy', 'accuracy*', 'measured on'
    )
  )
  remarks = measured.differences([on for on, _ in found])
  for (on, line), remark in zip(found, remarks, strict=True):
    print(
      COLUMNS.format(
        line['preset'],
        line['step'],
        percent(1 / (on.ways if on.known('ways') else ways)),
        _nearest_pixels(on, classes),
        percent(line['accuracy'], line['ci95']),
        percent(line['accuracy_disjoint'], line['ci95_disjoint']),
        ', '.join(filter(None, [on.dataset, on.task(), remark])),
      )
    )


def _nearest_pixels(on: Measured, classes: OpenClasses) -> str:
  """The accuracy of the baseline on the same kind of tasks; '-' if these cannot be drawn now."""
  episodes = on.episodes()
  if episodes is None:
    return '-'
  try:
    sampler = EpisodeSampler(classes.of(on), episodes, 0, 0)
  except InputError:
    return '-'
  return percent(*mean_and_ci95(pixel_baseline.nearest_neighbour(sampler, BASELINE_TASKS)))


def of_folders(folders: Sequence[str], output: str, form: str) -> None:
  """Writes the report of the runs in some folders, and prints which files it wrote.

  Args:
    folders: the --train_log_dir of each run.
    output: the file to write.
    form: 'html', 'md' or 'csv'; '' for what the ending of `output` says.

  Raises:
    InputError: see reports/writing.py.
  """
  logging.set_verbosity(logging.WARNING)  # TensorBoard's readers tell every file at INFO
  for path in writing.write(folders, output, form):
    print(f'wrote {path}')


def run() -> None:
  """Defines the flags and runs the form of the program that the command line asks for."""
  output = flags.DEFINE_string(
    'output', 'report.html', 'of folders: the file to write; its ending .html, .md or .csv counts'
  )
  form = flags.DEFINE_enum(
    'format', None, ['html', 'md', 'csv'], 'of folders: the format, whatever the ending is'
  )

  def main_of_flags(settings: Settings) -> None:
    if output.present or form.present:
      raise InputError(
        '--output and --format are for a report of folders: python -m hypertransformer.report '
        'LOG_DIR --output=report.html'
      )
    main(settings)

  cli.run_settings_or(
    main_of_flags, lambda folders: of_folders(folders, output.value, form.value or '')
  )


if __name__ == '__main__':
  run()
