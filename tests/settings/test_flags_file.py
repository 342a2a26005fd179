"""flags.json: what it holds, how it is read, and which flags make another model."""

from __future__ import annotations

import json
import os

import pytest

import hypertransformer
from hypertransformer.errors import InputError
from hypertransformer.settings import flags, flags_file

CLASS = {'continual_scenario': 'class_incremental'}
PIECES = {'continual_scenario': 'mini_batch'}
LOGITS = {**PIECES, 'continual_loss': 'cross_entropy'}
MERGED = {**CLASS, 'continual_method': 'merged_hypertransformer'}


@pytest.fixture
def folder(tmp_path):
  """A folder, as text."""
  return str(tmp_path)


def test_it_holds_every_flag_and_the_version(folder, values):
  v = values(seed=5, learning_rate=0.25)
  flags_file.write_flags(folder, v)
  expected = v | {'hypertransformer_version': hypertransformer.__version__}
  assert flags_file.read_flags(folder) == expected
  assert os.listdir(folder) == ['flags.json']


def test_no_file_is_left_where_it_cannot_be_written(tmp_path, values, monkeypatch):
  monkeypatch.setattr(os, 'replace', lambda *_: (_ for _ in ()).throw(OSError('full')))
  with pytest.raises(InputError, match=r'flags\.json: full'):
    flags_file.write_flags(str(tmp_path), values())
  assert list(tmp_path.iterdir()) == []


def test_an_evaluation_takes_the_flags_of_the_run(folder, values):
  flags_file.write_flags(folder, values(num_labels=3, optimizer='adam', seed=5, data_numpy_dir='d'))
  ours = values(train_log_dir=folder, num_labels=7, eval_batch_size=21, optimizer='momentum')
  found = flags_file.with_flags_of_run(ours, {'eval_batch_size'})
  assert found == values(
    train_log_dir=folder,
    num_labels=3,
    optimizer='adam',
    seed=5,
    data_numpy_dir='d',
    eval_batch_size=21,
  )
  found = flags_file.with_flags_of_run({**ours, 'eval_checkpoint': f'{folder}/model-3'}, set())
  assert (found['num_labels'], found['train_log_dir']) == (3, folder)
  found = flags_file.with_flags_of_run({**ours, 'eval_checkpoint': 'omniglot_5shot'}, set())
  assert (found['train_dataset'], found['train_log_dir']) == ('omniglot:0-1149', folder)


def test_an_evaluation_without_the_flags_of_the_run_is_refused(tmp_path, values):
  ours = values(train_log_dir=str(tmp_path / 'none'))
  with pytest.raises(InputError, match=r'none/flags\.json is missing'):
    flags_file.with_flags_of_run(ours, {'train_log_dir', 'data_numpy_dir'})
  assert flags_file.with_flags_of_run(ours, {'num_labels'}) == ours


def test_flags_without_effect_on_an_evaluation_are_not_compared(folder, values):
  flags_file.write_flags(folder, values())
  other = values(optimizer='adam', shuffle_labels_seed=4)
  flags_file.require_same_model(folder, other, to_train=False)
  with pytest.raises(
    InputError, match=r'--optimizer.*--shuffle_labels_seed|--shuffle.*--optimizer'
  ):
    flags_file.require_same_model(folder, other)


def test_a_folder_without_the_file(folder, values):
  assert flags_file.read_flags(folder) is None
  flags_file.require_same_model(folder, values())
  with pytest.raises(InputError, match=r'flags\.json is missing'):
    flags_file.read_settings(folder)


@pytest.mark.parametrize('content', ['[]', 'null', '3', '"text"', '{"seed": ', '[' * 100_000])
def test_a_damaged_file_is_refused_by_all_that_read_it(content, tmp_path, values):
  (tmp_path / 'flags.json').write_text(content)
  for read in (
    flags_file.read_settings,
    lambda folder: flags_file.require_same_model(folder, values()),
  ):
    with pytest.raises(InputError, match=r'flags\.json'):
      read(str(tmp_path))


@pytest.mark.parametrize('kind', ['pipe', 'large'])
def test_only_a_small_regular_file_is_read(kind, tmp_path):
  if kind == 'pipe':
    os.mkfifo(tmp_path / 'flags.json')
  else:
    with open(tmp_path / 'flags.json', 'wb') as file:
      file.truncate(1 << 40)
  with pytest.raises(InputError, match=r'flags.json cannot be read as JSON \((not a reg|larger)'):
    flags_file.read_flags(str(tmp_path))


@pytest.mark.parametrize(
  'noted',
  [7, [7], {'step': 1}, [{'flags': 3, 'classes': [1]}], [{'classes': {'train_dataset': 'x'}}]],
)
def test_a_malformed_history_is_ignored(noted):
  found = {flags_file.HISTORY: noted}
  assert flags_file.earlier_training_images(found) == []
  for change in flags_file.history(found):
    assert isinstance(flags_file.change_text(change), str)


def test_settings_are_read_with_defaults_for_flags_that_it_lacks(tmp_path, values):
  v = values(num_labels=5)
  del v['feature_normalization']
  (tmp_path / 'flags.json').write_text(json.dumps({**v, 'train_classes': 'noted beside the flags'}))
  assert flags_file.read_settings(str(tmp_path)) == flags.settings_from(values(num_labels=5))


@pytest.mark.parametrize(
  ('name', 'value'),
  [('num_labels', '5'), ('optimizer', 'x' * 9999), ('learning_rate', None), ('heads', 10**400)],
)
def test_a_value_that_is_not_allowed_is_refused_with_file_and_flag(name, value, folder, values):
  flags_file.write_flags(folder, values(**{name: value}))
  with pytest.raises(InputError, match=rf'flags\.json: {name} is') as caught:
    flags_file.read_settings(folder)
  assert len(str(caught.value)) < 500


ADDED = {'add_trainable_weights': True}
HEADS = {'warmup_steps': 5}


@pytest.mark.parametrize(
  ('old', 'new', 'changed'),
  [
    ({}, {'learning_rate': 0.2, 'train_steps': 3, 'dropout_rate': 0.1}, []),
    (
      {'num_labels': 20},
      {'num_labels': 5, 'cnn_activation': 'lrelu'},
      ['--num_labels was 20, is 5', "--cnn_activation was 'relu', is 'lrelu'"],
    ),
    ({'warmup_steps': 100}, {'warmup_steps': 200}, []),  # the same heads, for longer
    ({}, HEADS, ['--warmup_steps was 0, is 5']),
    ({'warmup_heads': 'trained'}, {}, []),  # there are none
    ({**HEADS, 'warmup_heads': 'trained'}, HEADS, ["--warmup_heads was 'trained', is 'generated'"]),
    (CLASS, {**CLASS, 'num_tasks': 9, 'eval_num_tasks': 2, 'continual_loss_terms': 'last'}, []),
    (CLASS, {'continual_scenario': 'task_incremental'}, []),  # the same model, another loss
    (CLASS, {**CLASS, 'embedding_units': 32}, []),  # its default
    ({}, CLASS, ["--continual_scenario was 'none', is 'class_incremental'"]),
    (CLASS, {**CLASS, 'embedding_units': 16}, ['--embedding_units was 0, is 16']),
    (
      CLASS,
      {**CLASS, 'continual_method': 'constant_protonet'},
      ["--continual_method was 'continual_hypertransformer', is 'constant_protonet'"],
    ),
    (
      {**MERGED, 'num_tasks': 2, 'eval_num_tasks': 6},
      {**MERGED, 'num_tasks': 6, 'eval_num_tasks': 4},
      [],
    ),
    (PIECES, LOGITS, ["--continual_loss was 'prototypical', is 'cross_entropy'"]),
    ({}, {'shuffle_labels_seed': 3}, ['--shuffle_labels_seed was 0, is 3']),
    ({}, {'shuffle_labels_seed': 3, 'train_dataset': 'mine'}, []),  # other classes anyway
    (ADDED, {**ADDED, 'generated_weight_scale': 0.1}, ['--generated_weight_scale was 1.0, is 0.1']),
  ],
)
def test_only_flags_of_the_model_make_another_model(old, new, changed, folder, values):
  flags_file.write_flags(folder, values(**old))
  assert sorted(flags_file.model_changes(flags_file.read_flags(folder), values(**new))) == sorted(
    changed
  )


@pytest.mark.parametrize('new', [{**MERGED, 'eval_num_tasks': 6}, {**MERGED, **PIECES}])
def test_another_size_of_merged_support_sets_makes_another_model(new, folder, values):
  flags_file.write_flags(folder, values(**MERGED))
  (change,) = flags_file.model_changes(flags_file.read_flags(folder), values(**new))
  assert 'num_tasks' in change


def test_another_model_is_not_resumed(folder, values):
  flags_file.write_flags(folder, values())
  flags_file.require_same_model(folder, values(learning_rate=7.0))
  with pytest.raises(InputError, match=f'{folder}.*--embedding_dim was 8, is 9'):
    flags_file.require_same_model(folder, values(embedding_dim=9))


def test_the_model_is_known_by_its_changed_flags(values):
  v = values(num_labels=9, seed=3, learning_rate=0.5)
  assert flags_file.changed_model_flags(v) == {'num_labels': 9}
