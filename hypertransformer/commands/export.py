"""Learn from a folder of labeled images, and write the CNN to a file.

  hypertransformer export omniglot_1shot symbols cnn.tflite

The arguments are MODEL SUPPORT_FOLDER OUTPUT. SUPPORT_FOLDER has a folder for each class. The
ending of OUTPUT tells the format: .keras, .tflite, .onnx (needs the extra onnx), .npz, or no ending
for a SavedModel directory.
"""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags, logging

from hypertransformer import cli

if __name__ == '__main__':
  cli.import_tensorflow()

from hypertransformer.converters import image_sources
from hypertransformer.data import files
from hypertransformer.data.images import Form
from hypertransformer.errors import require
from hypertransformer.learners import FewShotLearner

FLAGS = flags.FLAGS
flags.DEFINE_bool('int8', False, 'Weights and activations of 8 bits in a .tflite file.')
flags.DEFINE_bool('invert', False, 'Invert all images: for dark ink on white.')
flags.DEFINE_bool('overwrite', False, 'Replace an existing file.')


def main(arguments: Sequence[str]) -> None:
  """Write the CNN.

  Raises:
    InputError: the model or an image cannot be used, or the file cannot be written.
  """
  require(
    len(arguments) == 3, f'{len(arguments)} arguments are given; give MODEL SUPPORT_FOLDER OUTPUT.'
  )
  logging.set_verbosity(logging.WARNING)  # TensorFlow and tf2onnx log every step
  model, support, output = arguments
  path = files.expanded(output)
  files.require_new(path, FLAGS.overwrite)
  with FewShotLearner(model) as learner:
    form = Form(learner.image_shape[0], learner.image_shape[2], invert=FLAGS.invert)
    learner.fit(*image_sources.labeled(files.expanded(support), form)).export(path, FLAGS.int8)
    classes = ', '.join(map(str, learner.classes_))
    shape = ' x '.join(map(str, learner.image_shape))
  print(f'wrote {path}: images of {shape}, classes {classes}')


if __name__ == '__main__':
  cli.run_with_arguments(main)
