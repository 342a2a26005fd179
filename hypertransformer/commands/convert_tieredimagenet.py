r"""Convert the files of the tieredImageNet release into the folder that training reads.

  hypertransformer convert tieredimagenet \
    --input_path=~/Downloads/tiered-imagenet --output_path=data_numpy_dir

--input_path is a folder with {train,val,test}_labels.pkl, and for each split either
{split}_images.npz or {split}_images_png.pkl.

Writes the folder tieredimagenet/ with images.npy, uint8 [779165, 84, 84, 3], 16.5 GB, and
class_sizes.npy and classes.csv. There are 351 training, 97 validation and 160 test classes, in this
order. It requires less than 300 MB of memory. If it is killed, start it again: the next run removes
the hidden folder .tieredimagenet.RANDOM.part.
"""

from __future__ import annotations

from absl import flags

from hypertransformer import cli
from hypertransformer.converters import classes, tieredimagenet
from hypertransformer.data import files

NAME = 'tieredimagenet'
FLAGS = flags.FLAGS
flags.DEFINE_string(
  'input_path', None, 'Folder with labels and images of each split.', required=True
)
flags.DEFINE_string(
  'output_path', './data_numpy_dir', f'The folder {NAME} to write, or the folder above it.'
)
flags.DEFINE_bool(
  'bgr',
  True,
  'The arrays in the .npz files have blue first, as OpenCV and the published files do; they are '
  'written red first. --nobgr keeps the order of the colours.',
)
flags.DEFINE_bool('overwrite', False, 'Replace an existing dataset folder.')


def main() -> None:
  """Convert the release and print what was written."""
  path = classes.output_path(FLAGS.output_path, NAME, FLAGS.overwrite)
  folder = files.expanded(FLAGS.input_path)
  counts = tieredimagenet.convert(folder, path, FLAGS.bgr, tieredimagenet.OFFICIAL, FLAGS.overwrite)
  images = path / 'images.npy'
  print(f'{files.summary(images)} ({counts})')


if __name__ == '__main__':
  cli.run(main)
