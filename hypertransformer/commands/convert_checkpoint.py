r"""Convert a checkpoint of the original into one of this project, or back.

  hypertransformer convert checkpoint --direction=import \
    --input_checkpoint=original/model-20000 --output_checkpoint=logs/model-20001

Every value is kept as it is. So is global_step, which is 20001 in the original's model-20000.

Import drops the original's variables of the augmentation and the moving averages of its batch
norms. Export writes these averages as zeros and ones, and drops the state of the optimizer. Import
writes fewer tensors than it reads, because several of the original's are one here: a table of
embeddings, for example, is a tensor for each vector there. See docs/spec/model.md, section 7.
"""

from __future__ import annotations

from absl import flags

from hypertransformer import cli

if __name__ == '__main__':
  cli.import_tensorflow()

from hypertransformer.checkpoint_conversion import convert

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
  """Convert a checkpoint and prints how many tensors were read and written.

  Args:
    direction: 'import' or 'export'.
    source: the checkpoint to read, without .index.
    target: the checkpoint to write, without .index.
    overwrite: whether a checkpoint `target` may be replaced.

  Raises:
    InputError: the checkpoint cannot be converted; nothing is written then.
  """
  report = convert.convert(direction, source, target, overwrite)
  print(f'{source} -> {target}: {report}')


if __name__ == '__main__':
  cli.run(
    lambda: run(FLAGS.direction, FLAGS.input_checkpoint, FLAGS.output_checkpoint, FLAGS.overwrite)
  )
