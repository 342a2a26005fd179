"""Converts a checkpoint of the original implementation into one of ours, or back.

  python utils/convert_checkpoint.py --direction=import \
    --input_checkpoint=original/model-20000 --output_checkpoint=logs/model-20001

Every value is kept as it is, global_step too (the original's model-20000 holds 20001). The
original's augmentation variables and batch-norm moving averages are dropped on import; export
writes the latter as zeros and ones, and drops optimizer state. Fewer tensors are written than read
on import also because each table of embeddings is one tensor of ours, not one per vector.
"""

from __future__ import annotations

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags

from hypertransformer import command
from hypertransformer.original import convert

FLAGS = flags.FLAGS
flags.DEFINE_enum(
  'direction',
  None,
  ['import', 'export'],
  "import: the original's checkpoint -> ours; export: ours -> the original's.",
  required=True,
)
flags.DEFINE_string('input_checkpoint', None, 'Checkpoint to read, without .index.', required=True)
flags.DEFINE_string(
  'output_checkpoint', None, 'Checkpoint to write, without .index.', required=True
)
flags.DEFINE_bool('overwrite', False, 'Replace an output checkpoint that exists.')


def run(direction: str, source: str, target: str, overwrite: bool) -> None:
  """Converts; raises InputError, with nothing written, when it cannot."""
  report = convert.convert(direction, source, target, overwrite)
  note = convert.step_note(target, report.global_step)
  if note:
    print(note, file=sys.stderr)
  print(f'{source} -> {target}: {report}')


if __name__ == '__main__':
  command.run(
    lambda: run(FLAGS.direction, FLAGS.input_checkpoint, FLAGS.output_checkpoint, FLAGS.overwrite)
  )
