r"""Convert the pickles in which miniImageNet is distributed into the array that training reads.

  hypertransformer convert miniimagenet \
    --input_path=~/Downloads/miniimagenet --output_path=data_numpy_dir

--input_path is a folder with mini-imagenet-cache-train.pkl, -val.pkl and -test.pkl, of Python 2 or
3; or with miniImageNet_category_split_train_phase_train.pickle, ..._val.pickle and
..._test.pickle.

Writes miniimagenet.npy, uint8 [100, 600, 84, 84, 3], 1.3 GB, and miniimagenet.classes.csv. There
are 64 training, 16 validation and 20 test classes, in this order. It requires 2 GB of memory.
"""

from __future__ import annotations

from absl import flags

from hypertransformer import cli
from hypertransformer.converters import classes, miniimagenet
from hypertransformer.data import files

FLAGS = flags.FLAGS
flags.DEFINE_string('input_path', None, 'Folder with a pickle of each split.', required=True)
flags.DEFINE_string(
  'output_path',
  './data_numpy_dir/miniimagenet.npy',
  'The .npy file to write, or a folder for miniimagenet.npy.',
)
flags.DEFINE_bool('overwrite', False, 'Replace an existing output file.')


def main() -> None:
  r"""Convert the pickles and print what was written."""
  path = classes.output_path(FLAGS.output_path, 'miniimagenet.npy', FLAGS.overwrite)
  release = miniimagenet.OFFICIAL
  miniimagenet.convert(files.expanded(FLAGS.input_path), path, release, FLAGS.overwrite)
  counts = ', '.join(f'{split} {count} classes' for split, count in release.splits.items())
  print(f'{files.summary(path)} ({counts})')


if __name__ == '__main__':
  cli.run(main)
