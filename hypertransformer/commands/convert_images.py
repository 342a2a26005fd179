"""Convert your own images into a dataset that training reads.

  hypertransformer convert images --input_path=~/photos --output_path=data_numpy_dir/photos

The class and the split of each image are given in one of four ways:

  folders     --input_path contains a folder of images for each class; or the folders train, val and
              test, which contain the folders of the classes
  CSV files   --csv=train.csv,val.csv,test.csv with the columns filename,label; the file names are
              relative to --input_path (miniImageNet, CUB)
  lists       --splits=train.txt,val.txt,test.txt with a class name on each line, which is the name
              of a folder in --input_path (CIFAR-FS: --input_path=cifar100/data
              --splits=cifar100/splits/bertinetto/train.txt,...)
  pickles     --pickles=FC100_train.pickle,... with dicts of data [n, H, W, 3] and labels [n];
              without --input_path

Classes are numbered split by split, in the order in which the splits are given (folders: train,
val, test), and by name within a split, in natural order (2 before 10). The numbers are printed in
the form that flags take, such as photos:0-63, and listed in photos/classes.csv, or in
NAME.classes.csv beside NAME.npy.

Images may have any format that Pillow reads, whatever their names are. They are rotated as their
EXIF data say, put on white where they are transparent, resized to a square (--crop=center crops the
middle first) and written as uint8. Memory does not grow with the data. In images of
16 or 32 bits or of floats, --white_value is white. --invert turns dark ink on white into bright ink
on black.

Files that systems leave in folders (@eaDir, .DS_Store, Thumbs.db and others) are skipped and named
in a warning. Links are followed, also those out of --input_path; nothing is written there.
"""

from __future__ import annotations

from absl import flags

from hypertransformer import cli
from hypertransformer.converters import classes, image_folder, image_sources
from hypertransformer.converters.image_sources import Splits
from hypertransformer.data import files, images
from hypertransformer.errors import InputError

FLAGS = flags.FLAGS
flags.DEFINE_string(
  'input_path',
  None,
  'Folder of class folders, of split folders with class folders, or the folder that --csv or '
  '--splits refer to.',
)
flags.DEFINE_string(
  'output_path',
  None,
  'Folder to write, such as data_numpy_dir/cub, where cub is the name of the dataset; or a .npy '
  'file, if all classes have the same number of images.',
  required=True,
)
flags.DEFINE_list('csv', [], 'One file for each split, with the columns filename and label.')
flags.DEFINE_list(
  'splits', [], 'One text file for each split, with a class name (folder of --input_path) a line.'
)
flags.DEFINE_list('pickles', [], 'One pickle for each split, with the entries data and labels.')
flags.DEFINE_integer(
  'image_size', 84, 'Width and height of the images written, in pixels.', 1, 4096
)
flags.DEFINE_enum('channels', '3', ['1', '3'], '3 (RGB) or 1 (grey).')
flags.DEFINE_enum(
  'crop',
  images.CROPS[0],
  list(images.CROPS),
  'How images become square: squash keeps the whole image and changes its proportions, center '
  'crops the middle.',
)
flags.DEFINE_bool(
  'skip_broken', False, 'Skip images that cannot be read, instead of ending with an error.'
)
flags.DEFINE_bool(
  'invert', False, 'Invert brightness: dark ink on white becomes bright ink on black.'
)
flags.DEFINE_float(
  'white_value',
  images.WHITE,
  'White value of grey images of 16 or 32 bits or of floats, such as 4095.',
)
flags.DEFINE_bool('overwrite', False, 'Replace an existing dataset.')


def find_splits() -> Splits:
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
  paths = [files.expanded(text.strip()) for flag in given for text in FLAGS[flag].value]
  if FLAGS.pickles:
    return image_sources.from_pickles(paths)
  root = files.expanded(FLAGS.input_path)
  if FLAGS.csv:
    return image_sources.from_csvs(root, paths)
  return image_sources.from_lists(root, paths) if paths else image_sources.from_folders(root)


def main() -> None:
  """Convert what the flags say, and print what was written."""
  form = images.Form(FLAGS.image_size, int(FLAGS.channels), FLAGS.crop, FLAGS.invert)
  path = classes.output_path(FLAGS.output_path, overwrite=FLAGS.overwrite)
  lines = image_folder.convert(
    find_splits(), path, form, FLAGS.skip_broken, FLAGS.overwrite, FLAGS.white_value
  )
  print(*lines, sep='\n')


if __name__ == '__main__':
  cli.run(main)
