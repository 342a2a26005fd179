"""The checkpoints and flags that learners open, and those that they refuse."""

from __future__ import annotations

import json
import pathlib
import shutil
from typing import Any

import numpy as np
import pytest

from hypertransformer.errors import InputError
from hypertransformer.learners import ContinualLearner, FewShotLearner


def test_the_newest_checkpoint_of_a_folder_or_a_given_one_is_opened(
  few_shot_run: Any, make_task: Any
) -> None:
  folder = few_shot_run.folder
  task = make_task(0)
  scores = []
  for path in (folder, str(folder / 'model-30'), folder / 'model-20'):
    with FewShotLearner(path) as one:
      scores.append(one.fit(task.support, task.labels).scores(task.queries))
  np.testing.assert_array_equal(scores[0], scores[1])
  assert np.abs(scores[0] - scores[2]).max() > 1e-3


def damaged(few_shot_run: Any, folder: pathlib.Path, **changes: Any) -> pathlib.Path:
  """Copies the folder of a run, with changes in its flags.json."""
  shutil.copytree(few_shot_run.folder, folder)
  values = {**json.loads((folder / 'flags.json').read_text()), **changes}
  (folder / 'flags.json').write_text(json.dumps(values))
  return folder


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'embedding_dim': 3}, r'flags\.json'),
    ({'image_size': '12'}, 'image_size'),
    ({'num_labels': 1}, 'num_labels'),
    ({'pretrain_shared_feature': True}, 'pretrain_shared_feature'),
  ],
)
def test_unfit_flags_are_refused(
  few_shot_run: Any, tmp_path: pathlib.Path, changes: dict[str, Any], message: str
) -> None:
  with pytest.raises(InputError, match=message):
    FewShotLearner(damaged(few_shot_run, tmp_path / 'copy', **changes))


def test_unfit_checkpoints_are_refused(
  few_shot_run: Any, tmp_path: pathlib.Path, continual_run: Any
) -> None:
  copy = damaged(few_shot_run, tmp_path / 'copy')
  (tmp_path / 'empty').mkdir()
  (copy / 'model-20.data-00000-of-00001').write_bytes(b'cut')
  continual = continual_run('class_incremental').folder
  for opened, path, found in (
    (FewShotLearner, tmp_path / 'empty', 'empty'),
    (FewShotLearner, tmp_path / 'none', 'none'),
    (FewShotLearner, copy / 'model-31.index', 'model-0, model-20, model-30'),
    (FewShotLearner, copy / 'model-20', 'model-20'),
    (FewShotLearner, continual, 'ContinualLearner'),
    (ContinualLearner, copy, 'FewShotLearner'),
  ):
    with pytest.raises(InputError, match=found):
      opened(path)
  (copy / 'flags.json').unlink()
  with pytest.raises(InputError, match=r'flags\.json'):
    FewShotLearner(copy)


def test_the_home_folder_is_put_in(
  few_shot_run: Any, continual_run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
  monkeypatch.setenv('HOME', str(few_shot_run.folder.parent))
  with FewShotLearner(f'~/{few_shot_run.folder.name}') as learner:
    assert learner.checkpoint == str(few_shot_run.folder / 'model-30')
  with pytest.raises(InputError, match='NUL'):
    FewShotLearner('logs\0')
  monkeypatch.chdir(few_shot_run.folder)  # '' is not the current folder
  with pytest.raises(InputError, match='checkpoint='):
    FewShotLearner('')
