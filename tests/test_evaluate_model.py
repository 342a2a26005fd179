"""The evaluator as a program: presets by flags, evaluations of real checkpoints, how it ends."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import tensorflow.compat.v1 as tf

from hypertransformer import evaluate_model
from hypertransformer.errors import InputError
from hypertransformer.evaluation import presets
from hypertransformer.evaluation.daemon import Daemon
from hypertransformer.evaluation.presets import Preset
from hypertransformer.evaluation.task_evaluator import TaskEvaluator
from hypertransformer.settings import flags, flags_file


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
  """Gives SIGTERM its handler back, which `main` replaces."""
  before = signal.getsignal(signal.SIGTERM)
  yield
  signal.signal(signal.SIGTERM, before)


def described(presets: list[Preset]) -> list[tuple[str, str, list[int]]]:
  return [(preset.name, preset.dataset, preset.class_set.classes.tolist()) for preset in presets]


def test_presets_are_the_train_and_test_dataset_by_default(make_values: Callable[..., Any]) -> None:
  values = make_values(train_dataset='tiny', use_labels=4)
  assert described(presets.presets_from(flags.settings_from(values).data)) == [
    ('train', 'tiny', [0, 1, 2, 3]),
    ('test', 'tiny:20-29', list(range(20, 30))),
  ]


def test_presets_with_names_of_their_own(make_values: Callable[..., Any]) -> None:
  values = make_values(eval_datasets='test=tiny:20-29,mine=tiny:1,3,5-6')
  assert described(presets.presets_from(flags.settings_from(values).data)) == [
    ('test', 'tiny:20-29', list(range(20, 30))),
    ('mine', 'tiny:1,3,5-6', [1, 3, 5, 6]),
  ]


def test_presets_share_one_copy_of_the_data_with_its_classes_shuffled(
  make_values: Callable[..., Any],
) -> None:
  first, second = presets.presets_from(
    flags.settings_from(
      make_values(eval_datasets='a=tiny:0-4,b=tiny:5-9', shuffle_labels_seed=3)
    ).data
  )
  assert first.class_set.arrays is second.class_set.arrays
  assert first.class_set.arrays.starts.tolist() != sorted(first.class_set.arrays.starts.tolist())


@pytest.mark.parametrize(
  ('datasets', 'message'),
  [
    (
      'test=tiny:20-30',
      r"labels 20-30 of dataset 'tiny' are asked for, but it has the classes 0-29",
    ),
    ('tiny', r"'tiny' has no presets"),
    ('omniglot', r"dataset 'omniglot' is not there"),
  ],
)
def test_presets_of_classes_that_are_not_there_are_refused(
  make_values: Callable[..., Any], datasets: str, message: str
) -> None:
  with pytest.raises(InputError, match=message):
    presets.presets_from(flags.settings_from(make_values(eval_datasets=datasets)).data)


@pytest.mark.parametrize(
  ('training', 'evaluated', 'expected'),
  [
    ('tiny:0-9', 'test=tiny:20-29', []),
    ('tiny:0-9', 'train=tiny:0-9', []),
    ('tiny:0-9', 'mine=tiny:8-12', ['2 of the 5 classes of the preset mine (tiny:8-12)']),
    ('tiny:0-9', 'mine=copy:8-12', ['2 of the 5 classes of the preset mine (copy:8-12)']),
    ('tiny:0-9', 'test=copy:20-29', []),
    ('elsewhere:0-9', 'mine=tiny:8-12', []),
    ('copy:0-99', 'mine=tiny:8-12', []),  # the training classes cannot be opened here
  ],
)
def test_training_classes_in_a_preset_are_warned_of(
  data_folder: pathlib.Path,
  make_values: Callable[..., Any],
  tmp_path: pathlib.Path,
  warnings: list[str],
  training: str,
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
  evaluate_model.warn_of_training_classes(presets.presets_from(data, folder), data, folder)
  assert [text.split(' are among')[0] for text in warnings] == expected


def test_other_flags_are_told_before_data_that_do_not_fit_them(
  make_values: Callable[..., Any], tmp_path: pathlib.Path
) -> None:
  """An episode of so many images cannot be had, but that is not what a person has to mend."""
  flags_file.write_flags(str(tmp_path), make_values(num_labels=3))
  wrong = make_values(num_labels=2, samples_cnn=10_000, train_log_dir=str(tmp_path))
  told = (
    r'--num_labels was 3, is 2\. Use the flags of the run \(flags\.json there lists them\), or '
  )
  with tf.Graph().as_default(), tf.Session() as session:
    session.run(tf.get_variable('any', initializer=1.0).initializer)
    tf.train.Saver().save(session, str(tmp_path / 'model'), 5)
  for chosen, flag in (
    ({}, 'train_log_dir'),
    ({'eval_checkpoint': str(tmp_path / 'model-5')}, 'eval_checkpoint'),
    ({'eval_checkpoint': str(tmp_path)}, 'eval_checkpoint'),
  ):
    with pytest.raises(InputError, match=f'{told}another --{flag}'):
      evaluate_model.main(flags.settings_from(wrong | chosen))


def test_a_run_of_pre_training_is_refused(
  make_values: Callable[..., Any], tmp_path: pathlib.Path
) -> None:
  with pytest.raises(
    InputError,
    match=r'pretrain_shared_feature trains no CNN: there is nothing to evaluate\. '
    r'Evaluate the run that starts from it \(--restore_shared_features_from\)',
  ):
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
    (f'model-{step}', step) for step in (0, 3, 6)
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
  assert len((folder / 'eval' / 'results.jsonl').read_text().splitlines()) == 3


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
  continual_values: dict[str, Any],
  run_training: Callable[[Any], int],
  capsys: pytest.CaptureFixture[str],
) -> None:
  """Here on longer sequences than in training. A second time nothing is done."""
  assert run_training(continual_values) == 2
  evaluate_model.main(flags.settings_from(continual_values))
  folder = pathlib.Path(continual_values['train_log_dir'])
  lines = [
    json.loads(line) for line in (folder / 'eval' / 'results.jsonl').read_text().splitlines()
  ]
  assert [(line['step'], line['preset']) for line in lines] == [
    (step, preset) for step in (0, 1, 2) for preset in ('val', 'train')
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
  assert len((folder / 'eval' / 'continual.csv').read_text().splitlines()) == 1 + 6 * (6 + 3 + 2)
  assert json.loads((folder / 'best' / 'best.json').read_text())['continual'] is not None
  evaluate_model.main(flags.settings_from(continual_values))
  assert len((folder / 'eval' / 'results.jsonl').read_text().splitlines()) == 6


def test_a_task_of_a_sequence_has_one_query_batch(
  continual_values: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
  """The log says so if the flag says otherwise. A single task has as many as the flag says."""
  told: list[str] = []
  monkeypatch.setattr(evaluate_model.logging, 'info', lambda text, *args: told.append(text % args))

  def batches(**changes: Any) -> int:
    settings = flags.settings_from(continual_values | changes)
    return evaluate_model.with_one_batch(settings).evaluation.num_batches

  assert batches(num_eval_batches=16) == 1
  assert told == [
    '--num_eval_batches=16 is not used: each task of a sequence has one query batch of '
    '--eval_batch_size=9 images.'
  ]
  assert batches(num_eval_batches=1) == 1
  assert batches(continual_scenario='none', embedding_units=0, num_eval_batches=16) == 16
  assert len(told) == 1


def test_a_preset_with_too_few_classes_for_a_sequence_is_refused(
  continual_values: dict[str, Any],
) -> None:
  with pytest.raises(
    InputError,
    match=r"preset 'val' \(tiny:20-29\): dataset 'tiny' is used with 10 classes, but a "
    r'sequence of eval_num_tasks=4 tasks of num_labels=3 classes needs 12',
  ):
    evaluate_model.main(flags.settings_from(continual_values | {'eval_num_tasks': 4}))
  assert not pathlib.Path(continual_values['train_log_dir']).exists()


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> list[str]:
  """Replaces the evaluator by one that builds no graph and notes when it is closed."""
  closed: list[str] = []
  monkeypatch.setattr(TaskEvaluator, '__init__', lambda self, *args: None)
  monkeypatch.setattr(TaskEvaluator, 'close', lambda self: closed.append('closed'))
  monkeypatch.setattr(Daemon, '__init__', lambda self, *args: None)
  return closed


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_without_an_error(
  make_values: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, stand_in: list[str], number: int
) -> None:
  monkeypatch.setattr(Daemon, 'run', lambda self: os.kill(os.getpid(), number))
  evaluate_model.main(flags.settings_from(make_values()))
  assert stand_in == ['closed']


def test_it_runs_up_to_the_last_step_of_the_training(
  make_values: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, stand_in: list[str]
) -> None:
  told = []
  monkeypatch.setattr(
    Daemon,
    '__init__',
    lambda self, evaluator, presets, settings: told.append(settings.run.train_steps),
  )
  monkeypatch.setattr(Daemon, 'run', lambda self: None)
  evaluate_model.main(flags.settings_from(make_values(train_steps=77)))
  assert told == [77]
