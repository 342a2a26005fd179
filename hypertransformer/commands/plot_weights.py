r"""Draw the kernels that a trained model generates: the figures of the paper's appendix.

  hypertransformer plot weights logs/quickstart --output=weights.png
  hypertransformer plot weights CHECKPOINT --figure=episodes --output=episodes.png
  hypertransformer plot weights CHECKPOINT --figure=change --output=change.png
  hypertransformer plot weights CHECKPOINT OTHER --figure=allocation --output=allocation.png
  hypertransformer plot weights omniglot_1shot --figure=overview --output=overview.png \
    --images=examples/data/omniglot_unseen.npz

CHECKPOINT is the path of a checkpoint without .index, its directory, or the name of a pretrained
model of the package, such as omniglot_1shot. The figures are

- kernels: all kernels generated for one episode;
- episodes: those of several episodes below each other;
- change: how much they change from one episode to another, layer by layer;
- allocation: the kernels of two models for the same episode, of which one was trained with
  --lw_weight_allocation=output and the other with spatial;
- overview: the support set of an episode, the kernels, and query images with their predictions.
"""

from __future__ import annotations

import dataclasses
import string
from collections.abc import Sequence

from absl import flags

from hypertransformer import cli

if __name__ == '__main__':
  cli.import_tensorflow()

import numpy as np

from hypertransformer.data import files
from hypertransformer.data.arrays import ClassArrays, ClassSet
from hypertransformer.data.folder import DataFolder
from hypertransformer.episodes.sampling import Draw, EpisodeSampler
from hypertransformer.errors import InputError, require
from hypertransformer.evaluation.metrics import mean_and_ci95
from hypertransformer.learners import FewShotLearner, engine
from hypertransformer.pictures import canvas, episode, kernels
from hypertransformer.settings.config import Settings
from hypertransformer.settings.flags import settings_from

FLAGS = flags.FLAGS
flags.DEFINE_string('output', 'weights.png', 'The .png file to write.')
# The number of episodes of each figure.
EPISODES = {'kernels': 1, 'episodes': 3, 'change': 200, 'allocation': 1, 'overview': 1}
flags.DEFINE_enum('figure', 'kernels', list(EPISODES), 'Which figure to draw.')
flags.DEFINE_string(
  'data_numpy_dir', './data_numpy_dir', 'Directory with NAME.npy or the directory NAME.'
)
flags.DEFINE_string(
  'dataset', '', 'Classes of the episodes, NAME:0-9. Default: the test classes of the training.'
)
flags.DEFINE_string(
  'images', '', 'A .npz file with `images` [classes, samples, H, W, C], in place of a dataset.'
)
flags.DEFINE_integer(
  'episodes',
  0,
  'How many episodes. Default: 3 below each other, 200 for the change.',
  lower_bound=0,
)
flags.DEFINE_integer('seed', 0, 'Seed of the choice of episodes.', lower_bound=0)


class Model:
  """A trained model and the episodes that it is shown.

  The episodes are the same for all models that were trained on tasks of the same shape.
  """

  def __init__(self, checkpoint: str) -> None:
    """Open a checkpoint, or a pretrained model of the package by its name."""
    settings = settings_from(engine.find(checkpoint).settings.flag_values)
    self.learner = FewShotLearner(checkpoint)
    self.layers = self.learner.generated_layers()
    require(bool(self.layers), f'{self.learner.checkpoint} generates no layer.')
    self.allocation = settings.model.allocation
    config = dataclasses.replace(
      settings.episodes,
      query_samples=settings.model.num_labels,
      unlabeled_per_class=0,
      balanced=True,
      disjoint_query=True,
    )
    self.sampler = EpisodeSampler(_classes(settings), config, FLAGS.seed, 0)

  def kernels(self, number: int) -> dict[str, np.ndarray]:
    """Return the kernels of the generated layers for the episode of this number, by layer."""
    drawn = self.sampler.draw(number)
    self.learner.fit(self.images(drawn.support_rows), drawn.support_labels)
    weights = self.learner.weights()
    layers = {name.partition('/')[0]: value for name, value in weights.items() if 'kernel' in name}
    return {layer: value for layer, value in layers.items() if layer in self.layers}

  def images(self, rows: np.ndarray) -> np.ndarray:
    """Return images by their rows, uint8 [n, H, W, C]."""
    return self.sampler.class_set.arrays.gather(rows)


def _classes(settings: Settings) -> ClassSet:
  """Open the classes from which the episodes are sampled."""
  if FLAGS.images:
    images = np.load(files.expanded(FLAGS.images))['images']
    count, samples = images.shape[:2]
    flat = images.reshape(-1, *images.shape[2:])
    starts, sizes = samples * np.arange(count), np.full(count, samples)
    return ClassSet(ClassArrays(FLAGS.images, flat, starts, sizes), np.arange(count))
  data = DataFolder(
    FLAGS.data_numpy_dir, settings.data.shuffle_labels_seed, settings.data.use_labels
  )
  return data.open(FLAGS.dataset or settings.data.test_dataset)


def draw(figure: str, models: Sequence[Model], count: int) -> np.ndarray:
  """Draw a figure.

  Args:
    figure: its name, see above.
    models: two models for 'allocation', else one.
    count: the number of episodes.

  Raises:
    InputError: the models do not fit the figure.
  """
  found = [model.kernels(0) for model in models]
  if figure == 'overview':
    return _overview(models[0], models[0].sampler.draw(0), found[0])
  if figure == 'allocation':
    names = [model.allocation for model in models]
    require(
      sorted(names) == ['output', 'spatial'],
      f'the checkpoints were trained with --lw_weight_allocation={" and ".join(names)}; give one '
      'of output and one of spatial.',
    )
    shapes = [{layer: kernel.shape for layer, kernel in each.items()} for each in found]
    require(shapes[0] == shapes[1], f'the checkpoints generate different layers: {shapes}.')
    return kernels.layers(dict(zip(names, found, strict=True)), 'Kernels for the same support set')
  several = [models[0].kernels(number) for number in range(count)]
  if figure == 'change':
    changes = {
      layer: mean_and_ci95(
        [
          kernels.relative_change(after[layer], before[layer])
          for before, after in zip(several[::2], several[1::2], strict=False)
        ]
      )
      for layer in several[0]
    }
    return kernels.changes(changes, count // 2)
  names = [f'episode {number + 1}' for number in range(count)] if count > 1 else ['']
  return kernels.layers(
    dict(zip(names, several, strict=True)), 'Kernels generated from support sets'
  )


def _overview(model: Model, drawn: Draw, generated: dict[str, np.ndarray]) -> np.ndarray:
  names = np.array(list(string.ascii_uppercase))
  first = [
    [int(np.flatnonzero(labels == label)[0]) for label in range(model.learner.num_labels)]
    for labels in (drawn.support_labels, drawn.query_positions)
  ]
  queries = model.images(drawn.query_rows[first[1]])
  return episode.overview(
    model.images(drawn.support_rows[first[0]]),
    queries,
    names[model.learner.predict(queries)].tolist(),
    names[: model.learner.num_labels].tolist(),
    generated,
  )


def run(checkpoints: Sequence[str]) -> None:
  """Draw the figure that the flags choose. Raises InputError if that is impossible."""
  figure, output = FLAGS.figure, files.expanded(FLAGS.output)
  count, wanted = FLAGS.episodes or EPISODES[figure], 2 if figure == 'allocation' else 1
  if not checkpoints:
    raise InputError('no checkpoint is given; give its path, or the name of a model')
  require(
    len(checkpoints) == wanted,
    f'--figure={figure} needs {wanted} checkpoint(s), not {checkpoints}.',
  )
  require(figure != 'change' or count > 1, '--figure=change needs --episodes=2 or more.')
  require(output.suffix == '.png', f'--output={output} must end in .png.')
  picture = draw(figure, [Model(checkpoint) for checkpoint in checkpoints], count)
  with files.atomic_file(output) as file:
    file.write(canvas.png(picture))
  print(f'wrote {output}')


if __name__ == '__main__':
  cli.run_with_arguments(run)
