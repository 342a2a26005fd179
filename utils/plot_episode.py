"""Draws an episode before and after augmentation: look at it before you train on a new dataset.

  python utils/plot_episode.py --data_numpy_dir=data_numpy_dir --train_dataset=photos:0-5 \\
    --num_labels=5 --samples_transformer=5 --samples_cnn=50 --balanced_batches --output=episode.png

It takes the flags of the training. With those of a published run:

  ./scripts/with_flags_of.sh utils/plot_episode.py omniglot_1shot_v1 \\
    --data_numpy_dir=data_numpy_dir --output=episode.png
"""

from __future__ import annotations

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from absl import flags

from hypertransformer import cli

if __name__ == '__main__':
  cli.import_tensorflow()

from hypertransformer import cli
from hypertransformer.reports import drawing, episode_figure, episodes
from hypertransformer.settings.config import Settings

OUTPUT = flags.DEFINE_string('output', 'episode.png', 'The file of the picture, .png or .svg.')
SPLIT = flags.DEFINE_enum(
  'split', 'train', ['train', 'test'], 'An episode of training, or one of the test set.'
)
NUMBER = flags.DEFINE_integer(
  'episode', 0, 'The number of the episode; with --seed it chooses the images.', lower_bound=0
)


def main(settings: Settings) -> None:
  """Draws the episode that the flags ask for. Raises InputError if that cannot be done."""
  output = pathlib.Path(OUTPUT.value)
  drawing.check_output(output)
  episode = episodes.draw(settings, SPLIT.value, NUMBER.value)
  drawing.save(
    episode_figure.figure(episode),
    output,
    f'An episode before and after augmentation: {episode.dataset}',
  )
  print(f'wrote {output}')


if __name__ == '__main__':
  cli.run_settings(main)
