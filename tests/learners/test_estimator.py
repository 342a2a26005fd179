"""FewShotLearner as an estimator of scikit-learn, and the images that it accepts."""

from __future__ import annotations

import pathlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import sklearn
from PIL import Image
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import check_estimator

from hypertransformer.errors import InputError
from hypertransformer.learners import FewShotLearner

DRAWINGS = pathlib.Path(__file__).resolve().parents[2] / 'examples' / 'data' / 'omniglot_unseen.npz'
NAMES = np.array(['elk', 'dog', 'cat', 'bee', 'ape'])
# Checks of scikit-learn that cannot hold for this learner, and why.
EXPECTED_FAILURES = {
  **dict.fromkeys(
    ('check_fit_score_takes_y', 'check_do_not_raise_errors_in_init_or_set_params'),
    'the parameters are called images and labels; the constructor opens the checkpoint',
  ),
  **dict.fromkeys(
    ('check_estimators_fit_returns_self', 'check_readonly_memmap_input'),
    'fit returns a new learner, so that threads can share one',
  ),
  **dict.fromkeys(
    ('check_n_features_in', 'check_n_features_in_after_fitting'),
    'images have a shape, image_shape, and no number of features',
  ),
  **dict.fromkeys(
    (
      'check_complex_data', 'check_estimators_nan_inf', 'check_estimators_empty_data_messages',
      'check_estimator_sparse_tag', 'check_estimator_sparse_array', 'check_estimator_sparse_matrix',
      'check_requires_y_none', 'check_estimators_unfitted', 'check_fit2d_predict1d',
    ),
    'the error is an InputError, a ValueError, in our own words: scikit-learn is not required',
  ),
  **dict.fromkeys(
    ('check_dtype_object', 'check_classifiers_regression_target', 'check_supervised_y_2d'),
    'pixels are numbers; labels are a list, and anything hashable, such as 0.5, is one',
  ),
}  # fmt: skip


class OfFeatures(FewShotLearner):
  """Takes up to 10 features in place of an image, for checks that know nothing else."""

  def _pixels(self, images: Any, name: str, may_be_black: bool) -> np.ndarray:
    features = np.asarray(images)
    if features.ndim == 2 and features.shape[1] <= 10 and features.dtype.kind in 'iuf':
      images = np.resize(100 * (1.25 + np.tanh(features / 4)).T, (144, len(features))).T
      images = images.reshape(-1, 12, 12, 1)
    return super()._pixels(images, name, may_be_black)

  def __sklearn_tags__(self) -> Any:
    tags = super().__sklearn_tags__()
    tags.input_tags.two_d_array = tags.classifier_tags.poor_score = True
    return tags


@pytest.mark.filterwarnings('ignore')  # scikit-learn warns that the class is none of its own
def test_it_passes_the_estimator_checks_of_scikit_learn(few_shot_run: Any) -> None:
  with OfFeatures(few_shot_run.folder) as learner:
    results = check_estimator(
      learner, expected_failed_checks=EXPECTED_FAILURES, on_fail=None, on_skip=None
    )
  found = {
    status: {each['check_name']: each['exception'] for each in results if each['status'] == status}
    for status in ('passed', 'failed', 'xfail')
  }
  assert found['failed'] == {}
  assert found['xfail'].keys() == EXPECTED_FAILURES.keys()
  assert len(found['passed']) > 25


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
  order = np.argsort(fitted.labels())
  np.testing.assert_array_equal(fitted.classes_, fitted.labels()[order])
  np.testing.assert_allclose(fitted.decision_function(images), fitted.scores(images)[:, order])
  accuracy = (fitted.predict(images) == names).mean()
  assert fitted.score(images, names) == pytest.approx(accuracy)
  assert accuracy > 0.8


def test_it_is_cloned_validated_and_used_in_a_pipeline(
  learner: FewShotLearner, fitted: FewShotLearner, drawings: np.ndarray
) -> None:
  clone = sklearn.base.clone(fitted)
  assert clone.get_params() == fitted.get_params()
  assert not hasattr(clone, 'classes_')
  with pytest.raises(InputError, match='fit'):
    clone.predict(drawings[:, 1])
  images, names = drawings[:, :6].reshape(-1, 28, 28, 1), np.repeat(NAMES, 6)
  folds = cross_val_score(learner, images, names, cv=StratifiedKFold(3))
  assert folds.shape == (3,)
  assert folds.mean() > 0.8
  dark_on_white = make_pipeline(FunctionTransformer(lambda x: 255 - x), learner)
  assert dark_on_white.fit(255 - images, names).score(255 - images, names) > 0.8
  assert sklearn.base.is_classifier(learner)


def test_parameters_are_set_by_name_and_searched(few_shot_run: Any, make_task: Any) -> None:
  task = make_task(0)
  images = np.concatenate([task.support, task.queries])
  names = np.array(['c', 'a', 'b'])[np.concatenate([task.labels, task.answers])]
  with FewShotLearner(few_shot_run.folder) as learner:
    search = GridSearchCV(
      learner, {'batch_statistics': ['query', 'support']}, cv=[(range(6), range(6, 15))],
      scoring='neg_log_loss',
    ).fit(images, names)  # fmt: skip
    assert np.isfinite(search.cv_results_['mean_test_score']).all()
    fitted = learner.fit(task.support, task.labels)
    for wrong in ({'shots': 5}, {'batch_statistics': 'none'}):
      with pytest.raises(InputError, match=next(iter(wrong))):
        learner.set_params(**wrong)
      assert learner.predict(task.queries).shape == (9,)
    assert learner.set_params(batch_statistics='query').batch_statistics == 'query'
    with pytest.raises(InputError, match='fit'):
      learner.predict(task.queries)
    assert fitted.predict(task.queries).shape == (9,)


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


def test_images_of_other_forms_are_prepared_on_request(
  fitted: FewShotLearner, drawings: np.ndarray
) -> None:
  large = [
    Image.fromarray(image[..., 0]).resize((105, 90)).convert('RGB') for image in drawings[:, 1]
  ]
  with FewShotLearner.pretrained('omniglot_1shot', prepare=True) as learner:
    expected = learner.fit(drawings[:, 0], NAMES).predict(drawings[:, 1])
    with pytest.warns(UserWarning, match='from 105 x 90 pixels, RGB to 28 x 28 pixels, grey'):
      assert learner.predict(large).tolist() == expected.tolist()
    with warnings.catch_warnings():
      warnings.simplefilter('error')  # it was said once
      learner.predict([image.rotate(90, expand=True) for image in large])
    with pytest.raises(InputError, match='no query images'):
      learner.predict([])
    assert learner.predict(np.stack([np.asarray(x) for x in large])).tolist() == (
      learner.predict(large).tolist()
    )
    with pytest.raises(InputError, match='query images'):
      learner.predict(np.full((2, 30, 30, 2), 300.0))
  with pytest.raises(InputError, match='prepare=True'):
    fitted.predict(large)
