"""The models that come with the package: each does what its card says, on stored drawings."""

from __future__ import annotations

import json
import pathlib
import runpy
import zlib

import pytest

from hypertransformer.data.files import CARD, PACKAGED
from hypertransformer.errors import InputError
from hypertransformer.learners import ContinualLearner, pretrained_names

ROOT = pathlib.Path(__file__).resolve().parents[2]
DRAWINGS = runpy.run_path(str(ROOT / 'experiments/drawings.py'), run_name='drawings')


def test_all_together_are_small_enough_for_a_wheel() -> None:
  files = [path for path in PACKAGED.rglob('*') if path.is_file()]
  assert sum(len(zlib.compress(path.read_bytes())) for path in files) < 19e6


@pytest.mark.slow
@pytest.mark.parametrize('name', pretrained_names())
def test_a_model_keeps_what_its_card_promises(name: str) -> None:
  """The same tasks give the same accuracy, but for rounding on other machines."""
  folder = PACKAGED / name
  card = json.loads((folder / CARD).read_text())
  values = json.loads((folder / 'flags.json').read_text())
  found = DRAWINGS['accuracies'](folder, values, card['tasks_on_examples_data'])
  assert found == pytest.approx(card['accuracy_on_examples_data'], abs=0.01)
  if 'ink' in card['takes']['image'] and not DRAWINGS['learns_sequences'](values):
    assert abs(found[0] - card['evaluation']['test']['accuracy_disjoint']) < 0.06, 'few tasks'


@pytest.mark.parametrize('name', pretrained_names())
def test_a_card_says_how_the_model_was_made_and_what_it_takes(name: str) -> None:
  card = json.loads((PACKAGED / name / CARD).read_text())
  assert (PACKAGED / name / f'model-{card["steps"]}.index').exists()
  kind = card['takes']['image'].partition(', ')[2]
  ink = kind == 'bright ink on black'
  assert ('MIT' if ink else 'no written licence') in card['data']
  words = (card['command'] + ' ' + card['evaluated_by']).split()
  assert not [word for word in words if '=/' in word or '=~' in word], 'a path of one machine'
  values = json.loads((PACKAGED / name / 'flags.json').read_text())
  assert not [value for value in values.values() if str(value).startswith(('/', '~'))]
  with DRAWINGS['learner_of'](values).pretrained(name) as learner:
    height, width, channels = learner.image_shape
    assert card['takes'] == {
      'classes': learner.num_labels,
      'support_images_per_class': learner.shots,
      'image': f'{height} x {width} x {channels}, {kind}',
      'mean_brightness': 21.4 if ink else pytest.approx(122, abs=3),
    }


def test_a_name_that_does_not_exist_is_refused_with_those_that_do() -> None:
  with pytest.raises(InputError, match=r'imagenet.*omniglot_1shot'):
    ContinualLearner.pretrained('imagenet')
  with pytest.raises(InputError, match='FewShotLearner'):
    ContinualLearner.pretrained('omniglot_1shot')
