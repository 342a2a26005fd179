"""Draw an episode before and after augmentation: look at it before you train on a new dataset.

  hypertransformer plot episode quickstart --train_dataset=strokes:0-9 --output=episode.png

It takes a recipe and the flags of the training.
"""

from __future__ import annotations

from absl import flags

from hypertransformer import cli

if __name__ == '__main__':
  cli.import_tensorflow()

import numpy as np
import tensorflow.compat.v1 as tf

from hypertransformer.data import files
from hypertransformer.episodes import pipeline
from hypertransformer.episodes.sampling import EpisodeSampler
from hypertransformer.errors import require
from hypertransformer.evaluation.presets import folder_of
from hypertransformer.pictures import canvas, episode
from hypertransformer.runtime import sessions
from hypertransformer.settings import recipes
from hypertransformer.settings.config import Settings

OUTPUT = flags.DEFINE_string('output', 'episode.png', 'The .png file to write.')
SPLIT = flags.DEFINE_enum(
  'split', 'train', ['train', 'test'], 'An episode of training, or one of the test set.'
)
NUMBER = flags.DEFINE_integer(
  'episode', 0, 'The number of the episode; with --seed it chooses the images.', lower_bound=0
)
WIDTH = 700  # pixels


def draw(settings: Settings, split: str, number: int) -> np.ndarray:
  """Draw an episode as stored, and below it as the model sees it.

  Args:
    settings: those of the training.
    split: 'train' for an episode of training, with its augmentation; 'test' for a test episode.
    number: the number of the episode; with the seed of the run it chooses the images.

  Returns:
    uint8 [height, width, 3].

  Raises:
    InputError: the dataset cannot be used, or its images have neither 1 nor 3 channels.
  """
  data, train = settings.data, split == 'train'
  dataset = data.train_dataset if train else data.test_dataset
  folder = folder_of(data)
  classes = folder.open(dataset) if train else folder.open(dataset, data.test_split)
  channels = classes.arrays.image_shape[-1]
  require(channels in (1, 3), f'dataset {dataset!r} has {channels} channels; 1 or 3 can be drawn.')
  sampler = EpisodeSampler(classes, settings.episodes, settings.run.seed or 0, 0)
  drawn = sampler.draw(number)
  augment = settings.train_augmentation if train else settings.test_augmentation
  with tf.Graph().as_default(), tf.Session(config=sessions.config(tf.Graph())) as session:
    stream = pipeline.stream(sampler, augment, data.image_size, 'episode')
    after = stream.next()
    session.run(stream.initializer, {stream.first: number})
    support, query = session.run((after.support_images, after.query_images))
  gather = classes.arrays.gather
  stored = gather(drawn.support_rows), gather(drawn.query_rows)
  parts = [
    episode.grid(
      images, drawn.support_labels, queries, drawn.query_positions, None, title, width=WIDTH
    )
    for title, (images, queries) in (
      (f'One episode of {dataset} as stored', stored),
      ('The same episode as the model sees it', (support, query)),
    )
  ]
  return canvas.with_margin(canvas.below(*parts), 10)


def main(settings: Settings) -> None:
  """Draw the episode that the flags ask for. Raises InputError if that is impossible."""
  output = files.expanded(OUTPUT.value)
  require(output.suffix == '.png', f'--output={output} must end in .png.')
  picture = draw(settings, SPLIT.value, NUMBER.value)
  with files.atomic_file(output) as file:
    file.write(canvas.png(picture))
  print(f'wrote {output}')


if __name__ == '__main__':
  cli.run_settings(main, recipes.flagfile)
