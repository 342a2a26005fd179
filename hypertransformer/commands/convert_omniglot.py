"""Convert the official Omniglot release into the array that training reads.

  hypertransformer convert omniglot --input_path=~/Downloads/omniglot --output_path=data_numpy_dir

--input_path is a folder with images_background and images_evaluation, as .zip files or unpacked,
from github.com/brendenlake/omniglot. Writes omniglot.npy, uint8 [1623, 20, 28, 28, 1], with bright
ink, and the names of its classes to omniglot.classes.csv, in about 15 seconds.
"""

from __future__ import annotations

import numpy as np
from absl import flags

from hypertransformer import cli
from hypertransformer.converters import classes, omniglot
from hypertransformer.data import files

FLAGS = flags.FLAGS
flags.DEFINE_string(
  'input_path',
  None,
  'Folder with images_background and images_evaluation, as .zip files or unpacked.',
  required=True,
)
flags.DEFINE_string(
  'output_path',
  './data_numpy_dir/omniglot.npy',
  'The .npy file to write, or a folder for omniglot.npy.',
)
flags.DEFINE_integer('image_size', 28, 'Width and height of the images written, in pixels.')
flags.DEFINE_bool('overwrite', False, 'Replace an existing output file.')


def main() -> None:
  """Convert the release and print what was written."""
  path = classes.output_path(FLAGS.output_path, 'omniglot.npy', FLAGS.overwrite)
  found = omniglot.find(files.expanded(FLAGS.input_path))
  images = omniglot.decode(found, FLAGS.image_size)
  with classes.new_dataset(path, FLAGS.overwrite) as (file, write_classes):
    np.save(file, images, allow_pickle=False)
    write_classes(omniglot.class_entries(found), [images.shape[1]] * len(images))
  print(files.summary(path))


if __name__ == '__main__':
  cli.run(main)
