"""Converts the official Omniglot release to the array that training reads.

  python utils/cache_omniglot.py --input_path=~/Downloads/omniglot --output_path=data_numpy_dir

--input_path holds images_background(.zip) and images_evaluation(.zip), zipped or unpacked, from
github.com/brendenlake/omniglot. Writes omniglot.npy, uint8 [1623, 20, 28, 28, 1]; about 15 seconds.
"""
from __future__ import annotations

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import app, flags

from hypertransformer.episodes import omniglot, writing
from hypertransformer.errors import InputError

FLAGS = flags.FLAGS
flags.DEFINE_string('input_path', None, 'Folder with images_background and images_evaluation, as '
                    '.zip files or unpacked.', required=True)
flags.DEFINE_string('output_path', './data_numpy_dir/omniglot.npy',
                    'The .npy file to write, or a folder for omniglot.npy.')
flags.DEFINE_integer('image_size', 28, 'Width and height of the images written, in pixels.')
flags.DEFINE_bool('overwrite', False, 'Replace an existing output file.')


def run(input_path: str, output_path: str, image_size: int, overwrite: bool) -> None:
  """Converts; raises InputError, with nothing written, when it cannot."""
  path = writing.output_file(output_path, 'omniglot.npy', overwrite)
  images = omniglot.convert(pathlib.Path(input_path).expanduser(), image_size)
  writing.save_array(path, images)
  print(writing.summary(path, images))


def main(argv: list[str]) -> None:
  """Reads the flags; bad input ends in one line and status 2."""
  if len(argv) > 1:
    raise app.UsageError(f'unexpected argument {argv[1]!r}')
  try:
    run(FLAGS.input_path, FLAGS.output_path, FLAGS.image_size, FLAGS.overwrite)
  except InputError as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)


if __name__ == '__main__':
  app.run(main)
