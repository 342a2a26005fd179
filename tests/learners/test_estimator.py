"""FewShotLearner as an estimator of scikit-learn, and the images that it accepts."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import sklearn
from PIL import Image
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from hypertransformer.errors import InputError
from hypertransformer.learners import FewShotLearner

DRAWINGS = pathlib.Path(__file__).resolve().parents[2] / 'examples' / 'data' / 'omniglot_unseen.npz'
NAMES = np.array(['elk', 'dog', 'cat', 'bee', 'ape'])


@pytest.fixture(scope='module')
def drawings() -> np.ndarray:
  """Unseen drawings of five classes, uint8 [5, samples, 28, 28, 1]."""
  with np.load(DRAWINGS) as file:
    return file['images'][:5]


@pytest.fixture(scope='module')
def learner() -> Iterator[FewShotLearner]:
  with FewShotLearner.pretrained('omniglot_1shot') as opened:
    yield opened


@pytest.fixture
def fitted(learner: FewShotLearner, drawings: np.ndarray) -> FewShotLearner:
  return learner.fit(drawings[:, 0], NAMES)


def test_probabilities_go_with_classes_and_predictions(
  fitted: FewShotLearner, drawings: np.ndarray
) -> None:
  images, names = drawings[:, 1:5].reshape(-1, 28, 28, 1), np.repeat(NAMES, 4)
  chances = fitted.predict_proba(images)
  np.testing.assert_allclose(chances.sum(axis=1), 1.0, rtol=1e-5)
  np.testing.assert_array_equal(fitted.classes_[chances.argmax(axis=1)], fitted.predict(images))
  np.testing.assert_allclose(fitted.decision_function(images), fitted.scores(images))
  accuracy = (fitted.predict(images) == names).mean()
  assert fitted.score(images, names) == pytest.approx(accuracy)
  assert accuracy > 0.8


def test_it_is_cloned_validated_and_used_in_a_pipeline(
  learner: FewShotLearner, fitted: FewShotLearner, drawings: np.ndarray
) -> None:
  clone = sklearn.base.clone(fitted)
  assert clone.get_params() == fitted.get_params()
  with pytest.raises(InputError, match='fit'):
    clone.predict(drawings[:, 1])
  images, names = drawings[:, :6].reshape(-1, 28, 28, 1), np.repeat(NAMES, 6)
  folds = cross_val_score(learner, images, names, cv=StratifiedKFold(3))
  assert folds.shape == (3,)
  assert folds.mean() > 0.8
  dark_on_white = make_pipeline(FunctionTransformer(lambda x: 255 - x), learner)
  assert dark_on_white.fit(255 - images, names).score(255 - images, names) > 0.8
  assert sklearn.base.is_classifier(learner)


def test_parameters_are_set_by_name(drawings: np.ndarray) -> None:
  with FewShotLearner.pretrained('omniglot_1shot') as learner:
    learner.fit(drawings[:, 0], NAMES)
    assert learner.set_params(batch_statistics='query').batch_statistics == 'query'
    with pytest.raises(InputError, match='fit'):
      learner.predict(drawings[:, 1])
    with pytest.raises(InputError, match='shots'):
      learner.set_params(shots=5)


def test_what_was_learned_is_saved_and_loaded(
  learner: FewShotLearner, drawings: np.ndarray, tmp_path: pathlib.Path
) -> None:
  expected = learner.fit(drawings[:, 0], NAMES).scores(drawings[:, 1])
  learner.save(tmp_path / 'learned.npz')
  learner.fit(drawings[:, 2], NAMES)
  np.testing.assert_array_equal(
    learner.load(tmp_path / 'learned.npz').scores(drawings[:, 1]), expected
  )
  (tmp_path / 'bad.npz').write_bytes(b'no archive')
  with pytest.raises(InputError, match=r'bad\.npz'):
    learner.load(tmp_path / 'bad.npz')
  for use in (learner.load, learner.save, learner.export):
    with pytest.raises(InputError, match=r'gs://b/x\.npz is not a local path'):
      use('gs://b/x.npz')


def _files(folder: pathlib.Path, images: np.ndarray) -> list[pathlib.Path]:
  paths = [folder / f'{number}.png' for number in range(len(images))]
  for path, image in zip(paths, images, strict=True):
    Image.fromarray(image[..., 0]).save(path)
  return paths


def test_files_and_pillow_images_are_like_arrays(
  fitted: FewShotLearner, drawings: np.ndarray, tmp_path: pathlib.Path
) -> None:
  images = drawings[:, 1]
  paths = _files(tmp_path, images)
  given: list[Any] = [str(paths[0]), *paths[1:3], *map(Image.open, paths[3:])]
  np.testing.assert_array_equal(fitted.scores(given), fitted.scores(images))
  (tmp_path / '0.png').write_bytes(b'no image')
  with pytest.raises(InputError, match=r'0\.png'):
    fitted.scores(given)


def test_images_of_other_forms_are_prepared_on_request(drawings: np.ndarray) -> None:
  large = [
    Image.fromarray(image[..., 0]).resize((105, 90)).convert('RGB') for image in drawings[:, 1]
  ]
  with FewShotLearner.pretrained('omniglot_1shot', prepare=True) as learner:
    learner.fit(drawings[:, 0], NAMES)
    assert learner.predict(large).tolist() == learner.predict(drawings[:, 1]).tolist()
    assert learner.predict(np.stack([np.asarray(x) for x in large])).tolist() == (
      learner.predict(large).tolist()
    )
    with pytest.raises(InputError, match='query images'):
      learner.predict(np.full((2, 30, 30, 2), 300.0))
  with FewShotLearner.pretrained('omniglot_1shot') as learner:
    learner.fit(drawings[:, 0], NAMES)
    with pytest.raises(InputError, match='prepare=True'):
      learner.predict(large)
