"""The evaluator as a program: presets by flags, evaluations of real checkpoints, how it ends."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import tensorflow.compat.v1 as tf

from hypertransformer import evaluate_model
from hypertransformer.data import inspection
from hypertransformer.errors import InputError
from hypertransformer.evaluation import presets
from hypertransformer.evaluation.daemon import Daemon
from hypertransformer.evaluation.evaluator import Evaluator
from hypertransformer.settings import flags, flags_file


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
  """Gives SIGTERM its handler back, which `main` replaces."""
  before = signal.getsignal(signal.SIGTERM)
  yield
  signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
  ('training', 'earlier', 'evaluated', 'expected'),
  [
    ('tiny:0-9', '', 'test=tiny:20-29', []),
    ('tiny:0-9', '', 'train=tiny:0-9', []),
    ('tiny:0-9', '', 'mine=tiny:8-12', ['2 of the 5 classes of the preset mine (tiny:8-12)']),
    ('tiny:0-9', '', 'mine=copy:8-12', ['2 of the 5 classes of the preset mine (copy:8-12)']),
    ('tiny:0-9', '', 'test=copy:20-29', []),
    ('elsewhere:0-9', '', 'mine=tiny:8-12', []),
    ('copy:0-99', '', 'mine=tiny:8-12', []),  # the training classes cannot be opened here
    ('tiny:0-9', 'copy:19-22', 'mine=tiny:20-29', ['3 of the 10 classes of the preset mine']),
    ('tiny:0-9', 'copy:19-22', 'train=tiny:20-29', []),
  ],
)
def test_training_classes_in_a_preset_are_warned_of(
  data_folder: pathlib.Path,
  make_values: Callable[..., Any],
  tmp_path: pathlib.Path,
  warnings: list[str],
  training: str,
  earlier: str,
  evaluated: str,
  expected: list[str],
) -> None:
  """Also those of a copy under another name; not where the training data are elsewhere."""
  for name in ('tiny', 'copy'):
    shutil.copy(data_folder / 'tiny.npy', tmp_path / f'{name}.npy')
  values = make_values(
    data_numpy_dir=str(tmp_path), train_dataset=training, eval_datasets=evaluated
  )
  data = flags.settings_from(values).data
  folder = presets.folder_of(data)
  evaluated_on = presets.presets_from(data, folder)
  if earlier:
    was = {'train_dataset': {'pixels': inspection.images_of_classes(folder.open(earlier))}}
    (tmp_path / 'flags.json').write_text(json.dumps({'history': [{'classes': was}]}))
  evaluate_model.warn_of_training_classes(evaluated_on, data, folder, str(tmp_path))
  assert [re.split(r' are among| \(tiny:20| were', text)[0] for text in warnings] == expected


def test_other_flags_are_told_before_data_that_do_not_fit_them(
  make_values: Callable[..., Any], tmp_path: pathlib.Path
) -> None:
  """An episode of so many images cannot be had, but that is not what a person has to mend."""
  flags_file.write_flags(str(tmp_path), make_values(num_labels=3))
  wrong = make_values(num_labels=2, samples_cnn=10_000, train_log_dir=str(tmp_path))
  with tf.Graph().as_default(), tf.Session() as session:
    session.run(tf.get_variable('any', initializer=1.0).initializer)
    tf.train.Saver().save(session, str(tmp_path / 'model'), 5)
  for chosen in ({}, *({'eval_checkpoint': f'{tmp_path}{end}'} for end in ('/model-5', ''))):
    with pytest.raises(InputError, match='--num_labels was 3, is 2'):
      evaluate_model.main(flags.settings_from(wrong | chosen))


def test_a_run_of_pre_training_is_refused(
  make_values: Callable[..., Any], tmp_path: pathlib.Path
) -> None:
  with pytest.raises(InputError, match=r'pretrain_shared_feature .*--restore_shared_features_from'):
    evaluate_model.main(
      flags.settings_from(
        make_values(
          pretrain_shared_feature=True,
          shared_feature_extractor='2-layer',
          train_log_dir=str(tmp_path / 'logs'),
        )
      )
    )
  assert not (tmp_path / 'logs').exists()


def test_the_flags_of_a_training_evaluate_its_checkpoints(
  trained: Any, tmp_path: pathlib.Path
) -> None:
  """All that are there, up to train_steps, on the given classes. A second time nothing is done."""
  folder = tmp_path / 'logs'
  shutil.copytree(trained.folder, folder)
  values = trained.values | {'train_log_dir': str(folder), 'eval_datasets': 'test=tiny:20-29'}
  evaluate_model.main(flags.settings_from(values))
  lines = [
    json.loads(line) for line in (folder / 'eval' / 'results.jsonl').read_text().splitlines()
  ]
  assert [(line['checkpoint'], line['step']) for line in lines] == [
    (f'model-{step}', step) for step in (3, 6)
  ]
  for line in lines:
    assert (line['preset'], line['dataset'], line['num_tasks'], line['num_queries']) == (
      'test',
      'tiny:20-29',
      4,
      18,
    )
    assert 0.0 <= line['accuracy'] <= 1.0
    assert line['accuracy'] * 4 * 18 == pytest.approx(round(line['accuracy'] * 4 * 18), abs=1e-4)
  evaluate_model.main(flags.settings_from(values))
  assert len((folder / 'eval' / 'results.jsonl').read_text().splitlines()) == 2


# Sequences of tasks.


@pytest.fixture
def continual_values(make_values: Callable[..., Any], tmp_path: pathlib.Path) -> dict[str, Any]:
  return make_values(
    train_log_dir=str(tmp_path / 'logs'),
    train_steps=2,
    steps_between_saves=1,
    seed=1,
    continual_scenario='class_incremental',
    num_tasks=2,
    eval_num_tasks=3,
    embedding_units=4,
    eval_datasets='val=tiny:20-29,train=tiny:0-19',
  )


def test_the_flags_of_a_continual_training_evaluate_its_checkpoints(
  continual_values: dict[str, Any], run_training: Callable[[Any], int]
) -> None:
  """Here on longer sequences than in training. A second time nothing is done."""
  assert run_training(continual_values) == 2
  evaluate_model.main(flags.settings_from(continual_values))
  folder = pathlib.Path(continual_values['train_log_dir'])
  lines = [
    json.loads(line) for line in (folder / 'eval' / 'results.jsonl').read_text().splitlines()
  ]
  assert [(line['step'], line['preset']) for line in lines] == [
    (step, preset) for step in (1, 2) for preset in ('val', 'train')
  ]
  for line in lines:
    found = line['continual']
    assert (line['num_tasks'], line['num_queries'], found['num_tasks']) == (4, 9, 3)
    assert [[cell is not None for cell in row] for row in found['matrix']] == [
      [True, False, False],
      [True, True, False],
      [True, True, True],
    ]
    hits = [cell * 4 * 9 for row in found['matrix'] for cell in row if cell is not None]
    assert hits == pytest.approx([round(number) for number in hits], abs=1e-4)
    assert line['accuracy'] == pytest.approx(sum(found['matrix'][2]) / 3)
  assert len((folder / 'eval' / 'continual.csv').read_text().splitlines()) == 1 + 4 * (6 + 3 + 2)
  assert json.loads((folder / 'best' / 'best.json').read_text())['continual'] is not None
  evaluate_model.main(flags.settings_from(continual_values))
  assert len((folder / 'eval' / 'results.jsonl').read_text().splitlines()) == 4


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> list[str]:
  """Replaces the evaluator by one that builds no graph and notes when it is closed."""
  closed: list[str] = []
  monkeypatch.setattr(Evaluator, '__init__', lambda self, *args: None)
  monkeypatch.setattr(Evaluator, 'close', lambda self: closed.append('closed'))
  monkeypatch.setattr(Daemon, '__init__', lambda self, *args: None)
  return closed


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_without_an_error(
  make_values: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, stand_in: list[str], number: int
) -> None:
  monkeypatch.setattr(Daemon, 'run', lambda self: os.kill(os.getpid(), number))
  evaluate_model.main(flags.settings_from(make_values()))
  assert stand_in == ['closed']
