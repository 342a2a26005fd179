"""The command `hypertransformer`: its list, its --help, and the examples that --help shows."""

from __future__ import annotations

import os
import pathlib
import pickle
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hypertransformer import __version__
from hypertransformer.__main__ import COMMANDS, main
from hypertransformer.settings import flags, recipes

PACKAGE = pathlib.Path(__file__).parents[1] / 'hypertransformer'
# The command, except that small releases are the complete ones.
SMALL = """
from hypertransformer.__main__ import main
from hypertransformer.converters import miniimagenet, omniglot, tieredimagenet
from hypertransformer.converters.classes import Release
splits = {'train': 1, 'val': 1, 'test': 1}
miniimagenet.OFFICIAL = tieredimagenet.OFFICIAL = Release(splits, images=6, side=4)
splits = {'images_background': 1, 'images_evaluation': 1}
omniglot.find.__defaults__ = omniglot.decode.__defaults__ = (Release(splits, 2, 105),)
main()
"""


def call(home: pathlib.Path, *words: str, small: bool = False) -> subprocess.CompletedProcess[str]:
  """Runs the command in its home directory, as a shell would."""
  start = ['-c', SMALL] if small else ['-m', 'hypertransformer']
  expanded = [word.replace('=~/', f'={home}/') for word in words]
  environment = {'PYTHONPATH': str(PACKAGE.parent), 'HOME': str(home)}
  return subprocess.run(
    [sys.executable, *start, *expanded], cwd=home, env=os.environ | environment,
    capture_output=True, text=True, check=False, timeout=300,
  )  # fmt: skip


def test_it_lists_its_commands_and_says_its_version(capsys: pytest.CaptureFixture[str]) -> None:
  main([])
  listed = capsys.readouterr().out
  main(['--help'])
  assert capsys.readouterr().out == listed
  assert all(f'  {name} ' in listed and text in listed for name, (_, text) in COMMANDS.items())
  main(['--version'])
  assert capsys.readouterr().out == f'hypertransformer {__version__}\n'


@pytest.mark.parametrize(
  ('words', 'advice'),
  [
    ('trian quickstart', 'Did you mean train?'),
    ('convert imges', 'Did you mean convert images?'),
    ('convert', 'Use one of convert omniglot, '),
    ('zzz', 'Use one of train, evaluate, '),
    ('train quickstrt', "'quickstrt' is not a recipe. Did you mean quickstart?"),
    ('launch --workers=2 quickstrt', "'quickstrt' is not a recipe. Did you mean quickstart?"),
    ('plot episode zzz', f'Use one of {", ".join(recipes.names())}.'),
    ('train --train_stps=3', 'Did you mean --train_steps?'),
    ('inspect strokes --contact_shet=x.png', 'Did you mean --contact_sheet?'),
  ],
)
def test_an_unknown_name_ends_with_a_suggestion(
  words: str, advice: str, tmp_path: pathlib.Path
) -> None:
  done = call(tmp_path, *words.split())
  assert (done.returncode, done.stdout) == (2, '')
  assert done.stderr.startswith('error: ')
  assert advice in done.stderr
  assert len(done.stderr.splitlines()) == 1
  assert set(os.listdir(tmp_path)) <= {'.keras'}  # TensorFlow makes that


def test_help_shows_the_twenty_most_used_flags_and_helpfull_all(tmp_path: pathlib.Path) -> None:
  shown = {}
  for word in ('--help', '--helpfull'):
    done = call(tmp_path, 'train', word)
    assert (done.returncode, done.stderr) == (0, '')
    lines = done.stdout.splitlines()
    shown[word] = re.findall(r'^  --(?:\[no\])?(\w+):', done.stdout, re.MULTILINE)
    for subject in ('data', 'model', 'training', 'evaluation', 'run'):
      assert f'{subject}:' in lines
  assert len(shown['--help']) == 20
  assert shown['--helpfull'][:20] == shown['--help']
  assert sorted(shown['--helpfull']) == sorted(flag.name for flag in flags.ALL_FLAGS)


def test_help_of_another_command_shows_its_own_flags(tmp_path: pathlib.Path) -> None:
  done = call(tmp_path, 'convert', 'strokes', '--help')
  assert done.returncode == 0
  assert '\n  hypertransformer convert strokes --' in done.stdout
  assert '\n  --samples: Drawings of each character.' in done.stdout
  assert 'verbosity' not in done.stdout


@pytest.mark.parametrize('command', COMMANDS)
def test_every_help_has_an_example(command: str, examples: Any) -> None:
  assert examples(command)


@pytest.fixture
def home(tmp_path: pathlib.Path) -> pathlib.Path:
  """A home directory with what the examples read."""
  images = np.arange(6 * 48).astype(np.uint8).reshape(3, 2, 4, 4, 3)
  folders = [tmp_path / 'Downloads' / name for name in ('miniimagenet', 'tiered-imagenet')]
  for folder in folders:
    folder.mkdir(parents=True)
  for number, split in enumerate(('train', 'val', 'test')):
    content: Any = {'image_data': images[number], 'class_dict': {f'c{number}': [0, 1]}}
    (folders[0] / f'mini-imagenet-cache-{split}.pkl').write_bytes(pickle.dumps(content))
    np.savez(folders[1] / f'{split}_images.npz', images=images[number])
    content = {'labels': [number] * 2}
    (folders[1] / f'{split}_labels.pkl').write_bytes(pickle.dumps(content))
  drawing = Image.fromarray(np.full((105, 105), 255, np.uint8))
  for cls, split in enumerate(('images_background', 'images_evaluation'), start=1):
    folder = tmp_path / 'Downloads' / 'omniglot' / split / 'Arctic' / 'character01'
    folder.mkdir(parents=True)
    drawing.save(folder / f'{cls:04d}_01.png')
  for name in 'ab':
    (tmp_path / 'photos' / name).mkdir(parents=True)
    drawing.save(tmp_path / 'photos' / name / '1.png')
  return tmp_path


@pytest.mark.parametrize(
  ('command', 'further', 'written'),
  [
    ('convert omniglot', [], 'data_numpy_dir/omniglot.npy'),
    ('convert miniimagenet', [], 'data_numpy_dir/miniimagenet.npy'),
    ('convert tieredimagenet', [], 'data_numpy_dir/tieredimagenet/images.npy'),
    ('convert images', [], 'data_numpy_dir/photos/images.npy'),
    ('convert strokes', ['--classes=3'], 'data_numpy_dir/strokes.npy'),
  ],
)
def test_the_example_of_a_converter_works(
  command: str, further: list[str], written: str, home: pathlib.Path, examples: Any
) -> None:
  done = call(home, *examples(command)[0], *further, small=True)
  assert done.returncode == 0, done.stderr
  assert (home / written).exists()


@pytest.mark.slow
def test_the_other_examples_work_one_after_the_other(tmp_path: pathlib.Path, examples: Any) -> None:
  """With fewer classes of `strokes`, and fewer steps and tasks.

  The rest is in tests/commands, tests/demo and tests/utils.
  """
  assert call(tmp_path, 'convert', 'strokes', '--classes=20', '--samples=10').returncode == 0
  few = ['--train_dataset=strokes:0-9', '--test_dataset=strokes:10-19', '--samples_cnn=5']
  few += ['--eval_datasets=test=strokes:10-19', '--train_steps=2']
  checkpoint = 'logs/quickstart/model-2'
  for command, further, written in (
    ('inspect', [], 'strokes.png'),
    ('train', few, f'{checkpoint}.index'),
    ('evaluate', ['--num_task_evals=2'], 'logs/quickstart/eval/results.jsonl'),
    ('report', [], 'report.html'),
    ('plot weights', [], 'weights.png'),
    ('plot episode', ['--samples_cnn=5'], 'episode.png'),
  ):
    done = call(tmp_path, *examples(command)[0], *further)
    assert done.returncode == 0, f'{command}: {done.stderr}'
    assert (tmp_path / written).exists(), command
