"""Export CNNs in every format, and classify with the files as others would: by their runtimes.

  taskset -c 1 python benchmarks/export.py FOLDER

It writes to FOLDER the files, and in answers.npz the scores that each gives, beside those of the
learner. It prints size, latency of a single image, and agreement, the table of docs/export.md.
"""

from __future__ import annotations

import json
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import onnxruntime
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from hypertransformer.learners import ContinualLearner, FewShotLearner

DRAWINGS = pathlib.Path(__file__).resolve().parents[1] / 'examples' / 'data' / 'omniglot_unseen.npz'
NAMES = ['ape', 'bee 2', 'c\xe4t', 'dog', 'elk']

Predict = Callable[[np.ndarray], Any]


def by_keras(path: pathlib.Path) -> Predict:
  """Open a .keras file by Keras."""
  model = keras.models.load_model(path)
  return lambda images: model(images).numpy()


def by_saved_model(path: pathlib.Path) -> Predict:
  """Open a SavedModel by TensorFlow."""
  loaded = tf.saved_model.load(str(path))
  return lambda images: loaded.serve(images).numpy()


def by_tflite(path: pathlib.Path) -> Predict:
  """Open a .tflite file by LiteRT."""
  interpreter = Interpreter(str(path))
  (given,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()

  def predict(images: np.ndarray) -> np.ndarray:
    interpreter.resize_tensor_input(given['index'], images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given['index'], images)
    interpreter.invoke()
    return interpreter.get_tensor(answer['index'])

  return predict


def by_onnx(path: pathlib.Path) -> Predict:
  """Open an .onnx file by ONNX Runtime."""
  session = onnxruntime.InferenceSession(path)
  return lambda images: session.run(None, {'images': images})[0]


def by_arrays(path: pathlib.Path) -> Predict:
  """Computes with the arrays as docs/export.md says, here by NumPy and TensorFlow's kernels."""
  arrays = dict(np.load(path))
  about = json.loads(str(arrays['about']))

  def predict(images: np.ndarray) -> np.ndarray:
    x = images / np.float32(128) - np.float32(1)
    for layer in about['convolutions']:
      of = {key.split('/', 1)[1]: v for key, v in arrays.items() if key.startswith(layer['name'])}
      x = tf.nn.conv2d(x, of['conv/kernel'], about['stride'], layer['padding'])
      x = x + of['conv/bias'] if 'conv/bias' in of else x
      x = tf.nn.max_pool2d(x, 2, 2, 'VALID') if layer['pool'] else x
      x = tf.nn.relu(x)
      scale = of['batch_norm/gamma'] / np.sqrt(of['batch_norm/variance'] + about['epsilon'])
      x = (x - of['batch_norm/mean']) * scale + of['batch_norm/beta']
    x = tf.reshape(x, [len(x), -1]) if about['flatten'] else tf.reduce_mean(x, [1, 2])
    kernel, bias = (arrays[f'{about["logits"]}/logits/{part}'] for part in ('kernel', 'bias'))
    return (x @ kernel + bias).numpy()[:, : len(about['classes'])]

  return predict


READERS = {
  'cnn.keras': by_keras,
  'cnn.tflite': by_tflite,
  'int8.tflite': by_tflite,
  'cnn.onnx': by_onnx,
  'cnn.npz': by_arrays,
  'cnn': by_saved_model,
}


def milliseconds(predict: Predict, images: np.ndarray, repeats: int = 200) -> float:
  """Return the median time that a single image takes, after a first one."""
  times = []
  for number in range(repeats + 1):
    start = time.perf_counter()
    predict(images[number : number + 1])
    times.append(time.perf_counter() - start)
  return 1e3 * float(np.median(times[1:]))


def main(folder: pathlib.Path) -> None:
  """Export what was learned from a few drawings, and classify others."""
  with np.load(DRAWINGS) as file:
    drawings = file['images']
  images = drawings.reshape(-1, 28, 28, 1)[:1000]
  with FewShotLearner.pretrained('omniglot_1shot') as learner:
    learner.fit(drawings[:5, 0], NAMES)
    answers = {'learner': learner.scores(images)}
    predicts: dict[str, Predict] = {'learner': learner.scores}
    for name, reader in READERS.items():
      predicts[name] = reader(learner.export(folder / name, int8=name.startswith('int8')))
      answers[name] = predicts[name](images)
    own = answers['learner']
    print('format       kB   ms an image  same class  largest difference')
    for name, predict in predicts.items():
      path = folder / name
      files = path.rglob('*') if path.is_dir() else [path] if path.exists() else []
      size = sum(file.stat().st_size for file in files) / 1e3
      same = (answers[name].argmax(1) == own.argmax(1)).mean()
      apart = np.abs(answers[name] - own).max() / np.abs(own).max()
      print(
        f'{name:11} {size:4.0f} {milliseconds(predict, images):10.3f} {same:13.1%}  {apart:.1e} of '
        'the largest score'
      )
  with ContinualLearner.pretrained('omniglot_continual') as continual:
    for task in range(2):
      continual.learn(drawings[5 * task : 5 * task + 5, 0], range(5 * task, 5 * task + 5))
    answers['continual'] = continual.scores(images)
    answers['continual.keras'] = by_keras(continual.export(folder / 'continual.keras'))(images)
  np.savez(folder / 'answers.npz', allow_pickle=False, **answers)


if __name__ == '__main__':
  main(pathlib.Path(sys.argv[1]))
