"""Converts images of one's own into a dataset that training reads.

  python utils/cache_image_folder.py --input_path=~/photos --output_path=data_numpy_dir/photos

There are four ways to tell the class and the split of each image:

  folders     --input_path has a folder of images for each class; or it has the folders train, val
              and test, and these have the folders of the classes
  CSV files   --csv=train.csv,val.csv,test.csv with the columns filename,label; the file names are
              relative to --input_path (miniImageNet, CUB)
  lists       --splits=train.txt,val.txt,test.txt with a class name on each line, which is the name
              of a folder in --input_path (CIFAR-FS: --input_path=cifar100/data
              --splits=cifar100/splits/bertinetto/train.txt,...)
  pickles     --pickles=FC100_train.pickle,... with dicts of data [n, H, W, 3] and labels [n];
              without --input_path

The classes of the first split get the first numbers; those of a split are sorted by name, numbers
in names by value (2 before 10). Splits keep the order in which they are given; folders are in the
order train, val, test. The numbers are printed in the form in which flags take them, such as
photos:0-63, and listed in photos/classes.csv, or NAME.classes.csv beside NAME.npy.

Images may have any format that Pillow reads, whatever their names are. They are turned upright as
their EXIF data say, put on white where they are transparent, resized to a square (--crop=center
cuts the middle out instead) and written as uint8. The memory needed does not grow with the data.
Grey images of 16 or 32 bits or of floats get one scale for all images, which a warning names;
--white_value chooses it. --invert makes bright ink on black of dark ink on white paper.

What systems leave in folders (@eaDir, .DS_Store, Thumbs.db and the like) is passed over and named.
Links are followed, also those that lead out of --input_path; nothing is written there.
"""

from __future__ import annotations

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags

from hypertransformer import cli
from hypertransformer.converters import classes, image_folder, image_sources, images
from hypertransformer.converters.image_sources import Split
from hypertransformer.errors import InputError

FLAGS = flags.FLAGS
flags.DEFINE_string(
  'input_path',
  None,
  'Folder of the images: of class folders, of split folders with these, or the '
  'one that --csv or --splits refer to.',
)
flags.DEFINE_string(
  'output_path',
  None,
  'The folder to make, such as data_numpy_dir/cub; its name is the name of the '
  'dataset. Or a .npy file, if all classes have the same number of images.',
  required=True,
)
flags.DEFINE_list('csv', [], 'One file for each split, with the columns filename and label.')
flags.DEFINE_list(
  'splits', [], 'One text file for each split, with a class name (folder of --input_path) a line.'
)
flags.DEFINE_list('pickles', [], 'One pickle for each split, with the entries data and labels.')
flags.DEFINE_integer('image_size', 84, 'Width and height of the images written, in pixels.')
flags.DEFINE_integer('channels', 3, '3 (RGB) or 1 (grey).')
flags.DEFINE_enum(
  'crop',
  images.CROPS[0],
  list(images.CROPS),
  'How images that are not square become so: '
  'squash keeps all of the image and changes its proportions, center cuts the middle out.',
)
flags.DEFINE_bool(
  'skip_broken', False, 'Leave out images that cannot be read, instead of ending with an error.'
)
flags.DEFINE_bool(
  'invert', False, 'Exchange dark and bright: dark ink on white paper becomes bright ink on black.'
)
flags.DEFINE_float(
  'white_value',
  None,
  'The value that is white in grey images of 16 or 32 bits or of floats, such as 4095. Default: '
  'found out from all images.',
)
flags.DEFINE_bool('overwrite', False, 'Replace an existing dataset.')


def find_splits() -> list[Split]:
  """Find the images by split and class, in the way that the flags say.

  Raises:
    InputError: the flags contradict each other, or what was found cannot be used.
  """
  given = [flag for flag in ('csv', 'splits', 'pickles') if FLAGS[flag].value]
  if len(given) > 1:
    raise InputError(f'--{" and --".join(given)} are incompatible; give one of them')
  if bool(FLAGS.pickles) == bool(FLAGS.input_path):
    raise InputError(
      '--input_path is incompatible with --pickles, which contain the images; give one of them'
      if FLAGS.pickles
      else '--input_path is not given; expected the folder of the images'
    )
  paths = [classes.path_flag(text.strip(), flag) for flag in given for text in FLAGS[flag].value]
  if FLAGS.pickles:
    return image_sources.from_pickles(paths)
  root = classes.path_flag(FLAGS.input_path, 'input_path')
  if FLAGS.csv:
    return image_sources.from_csvs(root, paths)
  return image_sources.from_lists(root, paths) if paths else image_sources.from_folders(root)


def main() -> None:
  """Convert what the flags say, and print what was written."""
  form = images.Form(FLAGS.image_size, FLAGS.channels, FLAGS.crop, FLAGS.invert)
  path = classes.output_path(FLAGS.output_path, overwrite=FLAGS.overwrite)
  lines = image_folder.convert(
    find_splits(), path, form, FLAGS.skip_broken, FLAGS.overwrite, FLAGS.white_value
  )
  print(*lines, sep='\n')


if __name__ == '__main__':
  cli.run(main)
