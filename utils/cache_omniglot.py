"""Converts the official Omniglot release into the array that training reads.

  python utils/cache_omniglot.py --input_path=~/Downloads/omniglot --output_path=data_numpy_dir

--input_path is a folder with images_background and images_evaluation, as .zip files or unpacked,
from github.com/brendenlake/omniglot. Writes omniglot.npy, uint8 [1623, 20, 28, 28, 1], with bright
ink, and the names of its classes to omniglot.classes.csv, in about 15 seconds.
"""

from __future__ import annotations

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import numpy as np
from absl import flags

from hypertransformer import cli
from hypertransformer.converters import class_files, omniglot, path_flags
from hypertransformer.data import class_list, files

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


def run(input_path: str, output_path: str, image_size: int, overwrite: bool) -> None:
  """Converts the release and prints what was written.

  Raises:
    InputError: it cannot be converted; nothing is written then.
  """
  path = class_files.output_file(output_path, 'omniglot.npy', overwrite)
  found = omniglot.find(path_flags.given(input_path, 'input_path'))
  images = omniglot.decode(found, image_size)
  with class_files.atomic_array(path) as (file, listing):
    np.save(file, images, allow_pickle=False)
    class_list.write(listing, omniglot.class_entries(found), [images.shape[1]] * len(images))
  print(files.summary(path, images))


if __name__ == '__main__':
  cli.run(lambda: run(FLAGS.input_path, FLAGS.output_path, FLAGS.image_size, FLAGS.overwrite))
