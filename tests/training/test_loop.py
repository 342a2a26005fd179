"""Whole runs: repeatable, resumed to the bit; what they write, where they start and end."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal

import numpy as np
import pytest
from absl import logging

from hypertransformer import train
from hypertransformer.data import inspection
from hypertransformer.errors import InputError
from hypertransformer.model import continual
from hypertransformer.runtime import checkpoints
from hypertransformer.settings import flags, flags_file
from hypertransformer.settings.config import CONTINUAL_METHODS
from hypertransformer.training import graph as graph_lib
from hypertransformer.training import hooks, loop

CHT, PROTONET, MERGED = CONTINUAL_METHODS
CLASS, PIECES = 'class_incremental', 'mini_batch'
SHARED = {'shared_feature_extractor': '2-layer', 'shared_features_dim': 2, 'train_steps': 2}


def assert_identical(one, other):
  assert one.keys() == other.keys()
  for name, value in one.items():
    assert value.tobytes() == other[name].tobytes(), name


def differ(one, other):
  return any(value.tobytes() != other[name].tobytes() for name, value in one.items())


def steps_on_disk(folder):
  return list(checkpoints.find(str(folder)))


def read_values(folder):
  """Reads flags.json, without what it notes besides the flags."""
  found = json.loads((folder / 'flags.json').read_text())
  return {name: value for name, value in found.items() if name in flags.defaults()}


# The same bits.


def test_checkpoints_at_the_start_at_every_save_and_at_the_end(trained, read_variables):
  assert steps_on_disk(trained.folder) == [0, 3, 6]
  for step in (0, 3, 6):
    assert read_variables(str(trained.folder / f'model-{step}'))['global_step'] == step


def test_the_same_seed_gives_the_same_bits_also_when_resumed(
  trained, run_training, read_variables, tmp_path
):
  """There are 3 steps and, resumed, 3 more, against 6 without a break; with dropout."""
  values = trained.values | {'train_log_dir': str(tmp_path)}
  assert run_training(values | {'train_steps': 3}) == 3
  third = read_variables(str(tmp_path / 'model-3'))
  assert_identical(third, read_variables(str(trained.folder / 'model-3')))
  assert differ(third, read_variables(str(tmp_path / 'model-0')))
  assert run_training(values) == 6
  assert_identical(
    read_variables(str(tmp_path / 'model-6')), read_variables(str(trained.folder / 'model-6'))
  )
  assert read_values(tmp_path) == values


@pytest.mark.slow
def test_a_run_on_sequences_in_two_parts_is_the_same_to_the_bit(
  make_values, run_training, read_variables, tmp_path, monkeypatch
):
  """There is dropout, whose noise differs from task to task, and loops in the graph."""
  monkeypatch.setattr(continual, 'UNROLLED_SCAN', 0)
  monkeypatch.setattr(continual, 'UNROLLED_MAP', 0)
  values = make_values(
    continual_scenario=CLASS,
    continual_method=CHT,
    seed=1,
    dropout_rate=0.2,
    cnn_dropout_rate=0.2,
    add_trainable_weights=True,
    generated_weight_scale=0.1,
  )
  for folder, parts in (('whole', [4]), ('parts', [2, 4])):
    for steps in parts:
      run_training(values | {'train_log_dir': str(tmp_path / folder), 'train_steps': steps})
  assert_identical(
    *(read_variables(str(tmp_path / folder / 'model-4')) for folder in ('whole', 'parts'))
  )


@pytest.mark.slow
@pytest.mark.parametrize(
  ('scenario', 'method', 'loss'),
  [
    (CLASS, PROTONET, 'prototypical'),
    ('task_incremental', MERGED, 'prototypical'),
    (PIECES, CHT, 'cross_entropy'),
  ],
)
def test_a_run_on_sequences_trains_what_its_method_has(
  make_values, run_training, read_variables, scenario, method, loss, tmp_path
):
  values = make_values(
    continual_scenario=scenario,
    continual_method=method,
    continual_loss=loss,
    num_tasks=2,
    seed=1,
    train_log_dir=str(tmp_path),
    train_steps=2,
    gradient_norm_clip=10.0,
  )
  assert run_training(values) == 2
  first, last = (read_variables(str(tmp_path / f'model-{step}')) for step in (0, 2))
  changed = {
    name.split('/')[1]
    for name in first
    if not np.array_equal(first[name], last[name]) and '/' in name
  }
  generators = set() if method == PROTONET else {'generator_3', 'generator_4'}
  assert changed == {'cnn', *generators}


@pytest.mark.slow
def test_a_run_learns_noisy_patterns(make_values, run_training, tmp_path, read_events, monkeypatch):
  """There are two tasks of three classes, so chance is between 1/3 and 1/6."""
  monkeypatch.setattr(hooks, 'STEPS_PER_SUMMARY', 50)
  values = make_values(
    continual_scenario=CLASS,
    num_tasks=2,
    seed=1,
    train_log_dir=str(tmp_path),
    train_steps=200,
    gradient_norm_clip=10.0,
    default_num_channels=4,
    embedding_units=8,
  )
  assert run_training(values) == 200
  scalars = read_events(tmp_path / 'train').scalars
  assert scalars['loss/loss'][200] < 0.7 * scalars['loss/loss'][50]
  assert scalars['accuracy/accuracy'][200] > 0.5


# What a run writes.


def test_summaries_have_the_tags_of_the_original_and_the_right_steps(trained, read_events):
  """There is a record every 2 steps."""
  events = read_events(trained.folder / 'train')
  # Those of omniglot_1shot in shared/golden/summary_tags.json.
  tags = {'loss/loss/ce', 'accuracy/accuracy', 'accuracy/test_accuracy', 'loss/loss'}
  changes = {f'kernel_change/test_episode/layer_{number}' for number in (3, 4)}
  assert set(events.scalars) == tags | changes | {'learning_rate', 'global_step/sec', 'cpu_seconds'}
  for tag in (*tags, 'learning_rate'):
    assert list(events.scalars[tag]) == [2, 4, 6]
  assert list(events.scalars['learning_rate'].values()) == pytest.approx([0.05] * 3)
  names = [
    f'generated_weights/{name}'
    for name in ('layer_3/conv/kernel', 'layer_4/logits/kernel', 'layer_4/logits/bias')
  ]
  names += [f'gradients/{part}' for part in ('generator_3', 'generator_4')]
  names += [f'gradients/cnn/layer_{number}' for number in (1, 2, 3)]
  assert events.histograms == {name: [4] for name in names}
  figures = ['episode/test_episode', 'confusion/test_episode']
  figures += [
    f'{what}/test_episode/layer_{number}' for what in ('kernels', 'attention') for number in (3, 4)
  ]
  assert events.pictures == {tag: [4] for tag in figures}


def test_a_run_has_pages_of_its_flags_and_its_end(trained, read_events):
  pages = read_events(trained.folder / 'train').pages
  assert set(pages) == {
    '_hparams_/session_start_info',
    '_hparams_/session_end_info',
    'custom_scalars__config__',
    'run/flags/text_summary',
    'run/cnn/text_summary',
  }
  (table,) = pages['run/cnn/text_summary'].tensor.string_val
  assert b'layer_3  conv/kernel' in table
  (flags_text,) = pages['run/flags/text_summary'].tensor.string_val
  assert b'| embedding_dim | 2 | 8 |' in flags_text


def test_without_figures_the_model_is_the_same_and_saves_can_be_left_out(
  trained, run_training, read_variables, read_events, tmp_path, monkeypatch
):
  monkeypatch.setattr(hooks, 'STEPS_PER_SUMMARY', 2)
  monkeypatch.setattr(hooks, 'STEPS_PER_HISTOGRAM', 4)
  changes = {'train_log_dir': str(tmp_path), 'image_summaries': False, 'steps_between_saves': 0}
  assert run_training(trained.values | changes) == 6
  assert steps_on_disk(tmp_path) == [0, 6]
  assert_identical(
    read_variables(str(tmp_path / 'model-6')), read_variables(str(trained.folder / 'model-6'))
  )
  events = read_events(tmp_path / 'train')
  assert events.pictures == {}
  assert {tag.split('/')[0] for tag in events.histograms} == {'generated_weights'}
  assert not any(tag.startswith('kernel_change') for tag in events.scalars)


# Where a run starts.


def test_a_finished_run_is_left_as_it_is(copied, run_training, lines, no_building):
  folder = pathlib.Path(copied['train_log_dir'])
  before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
  assert run_training(copied) == 6
  assert run_training(copied | {'train_steps': 5}) == 6
  assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
  assert any('step 6' in line and 'nothing to do' in line for line in lines)


def test_a_run_resumes_without_the_checkpoint_file_and_with_another_learning_rate(
  trained, copied, run_training, read_variables, lines
):
  """The rate is too small to change variables. Three checkpoints are kept."""
  folder = pathlib.Path(copied['train_log_dir'])
  (folder / 'checkpoint').unlink()
  assert run_training(copied | {'train_steps': 7, 'learning_rate': 1e-12}) == 7
  assert any(f'{folder}/model-6' in line for line in lines)
  seventh, sixth = (
    read_variables(str(path)) for path in (folder / 'model-7', trained.folder / 'model-6')
  )
  assert seventh.pop('global_step') == 7
  for name, value in seventh.items():
    np.testing.assert_allclose(value, sixth[name], rtol=0, atol=1e-6, err_msg=name)
  assert steps_on_disk(folder) == [3, 6, 7]
  assert read_values(folder)['learning_rate'] == 1e-12


def test_a_stale_checkpoint_file_does_not_matter(
  trained, run_training, read_variables, tmp_path, monkeypatch
):
  """It names checkpoints that are not there.

  This run is ended after one step, by a signal that comes while the graph is built.
  """
  (tmp_path / 'checkpoint').write_text(
    'model_checkpoint_path: "model-77"\nall_model_checkpoint_paths: "model-77"\n'
  )
  build = graph_lib.build

  def interrupted(*args, **more):
    os.kill(os.getpid(), signal.SIGTERM)
    return build(*args, **more)

  monkeypatch.setattr(graph_lib, 'build', interrupted)
  handler = signal.getsignal(signal.SIGTERM)
  assert run_training(trained.values | {'train_log_dir': str(tmp_path)}) == 1
  assert signal.getsignal(signal.SIGTERM) == handler
  assert steps_on_disk(tmp_path) == [0, 1]
  assert_identical(
    read_variables(str(tmp_path / 'model-0')), read_variables(str(trained.folder / 'model-0'))
  )


def test_a_truncated_latest_checkpoint_is_skipped(
  trained, copied, run_training, read_variables, lines
):
  folder = pathlib.Path(copied['train_log_dir'])
  data = folder / 'model-6.data-00000-of-00001'
  data.write_bytes(data.read_bytes()[:-10])
  assert run_training(copied) == 6
  assert any(f'{folder}/model-6 cannot be used' in line for line in lines)
  assert_identical(
    read_variables(str(folder / 'model-6')), read_variables(str(trained.folder / 'model-6'))
  )


def test_a_run_without_a_readable_checkpoint_is_refused(copied, run_training, no_building):
  """To start from scratch would throw the run away without a word."""
  folder = pathlib.Path(copied['train_log_dir'])
  for path in folder.glob('*.data-*'):
    path.write_bytes(b'')
  with pytest.raises(InputError, match=r'none of the checkpoints in .*/copy can be read'):
    run_training(copied | {'train_steps': 9})


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'default_num_channels': 3}, '--default_num_channels was 2, is 3'),
    ({'num_layers': 2, 'optimizer': 'adam'}, '--num_layers was 1, is 2; --optimizer was'),
  ],
)
def test_resuming_with_another_model_names_the_flags(
  copied, run_training, no_building, changes, message
):
  before = pathlib.Path(copied['train_log_dir'], 'flags.json').read_text()
  with pytest.raises(InputError, match=message):
    run_training(copied | {'train_steps': 9} | changes)
  assert pathlib.Path(copied['train_log_dir'], 'flags.json').read_text() == before


def test_a_checkpoint_of_another_model_without_flags_json_names_the_variables(copied, run_training):
  """It leaves no flags.json, because of which the right flags would be refused afterwards."""
  folder = pathlib.Path(copied['train_log_dir'])
  (folder / 'flags.json').unlink()
  with pytest.raises(InputError, match=r'/copy/model-6 .*model/[a-z_/0-9]+: has \[.*\], needs \['):
    run_training(copied | {'train_steps': 9, 'default_num_channels': 3})
  assert not (folder / 'flags.json').exists()


@pytest.mark.parametrize('name', ['file/logs', 'run*'])
def test_an_unusable_directory_is_refused(make_values, run_training, tmp_path, no_building, name):
  """One cannot be created, and TensorFlow would take the other one for a pattern."""
  (tmp_path / 'file').touch()
  with pytest.raises(InputError, match=r'train_log_dir .*'):
    run_training(make_values(train_log_dir=str(tmp_path / name)))
  assert [path.name for path in tmp_path.iterdir()] == ['file']


@pytest.mark.parametrize('name', ['.trainer.lock', 'machines.jsonl', 'model-9.index', 'train/x'])
def test_a_directory_with_a_link_is_refused(make_values, run_training, tmp_path, no_building, name):
  path = tmp_path / 'logs' / name
  path.parent.mkdir(parents=True)
  (tmp_path / 'other').write_text('mine')
  path.symlink_to(tmp_path / 'other')
  with pytest.raises(InputError, match=f'{name} is a link'):
    run_training(make_values(train_log_dir=str(tmp_path / 'logs')))
  assert (tmp_path / 'other').read_text() == 'mine'
  assert os.listdir(path.parent) == [path.name]


# Shared features.


@pytest.fixture(scope='module')
def pretrained(tmp_path_factory, make_values, run_training):
  """The directory of a run that has pre-trained shared features for 2 steps."""
  folder = tmp_path_factory.mktemp('pretrained')
  values = make_values(**SHARED, pretrain_shared_feature=True, train_log_dir=str(folder), seed=4)
  assert run_training(values) == 2
  return folder


def test_a_run_takes_its_first_weights_from_another(
  make_values, run_training, read_variables, tmp_path
):
  values = make_values(train_log_dir=str(tmp_path / 'a'), train_steps=2, seed=5)
  run_training(values)
  warm = values | {'train_log_dir': str(tmp_path / 'b'), 'init_from': str(tmp_path / 'a')}
  assert run_training(warm | {'train_steps': 1, 'optimizer': 'adam'}) == 1
  given, first = (read_variables(str(tmp_path / name)) for name in ('a/model-2', 'b/model-0'))
  weights = [name for name in first if name.startswith('model/') and 'Adam' not in name]
  assert weights
  for name in weights:
    np.testing.assert_array_equal(first[name], given[name])
  assert first['global_step'] == 0
  again = warm | {'train_log_dir': str(tmp_path / 'c'), 'init_from': str(tmp_path / 'b/model-1')}
  run_training(again | {'train_steps': 1})
  found = json.loads((tmp_path / 'c' / 'flags.json').read_text())['ancestry']
  assert found == [
    {'checkpoint': str(tmp_path / 'a/model-2'), 'step': 2},
    {'checkpoint': str(tmp_path / 'b/model-1'), 'step': 1},
  ]
  with pytest.raises(InputError, match='a/model-2 does not fit'):
    run_training(warm | {'train_log_dir': str(tmp_path / 'd'), 'default_num_channels': 5})


def test_pretraining_trains_the_shared_features(pretrained, read_variables, read_events):
  first, last = (read_variables(str(pretrained / f'model-{step}')) for step in (0, 2))
  shared = [name for name in first if name.startswith('model/')]
  assert shared
  assert all(name.startswith('model/shared_features/') for name in shared)
  assert any(not np.array_equal(first[name], last[name]) for name in shared)
  # Those of pretrain_shared_feature in shared/golden/summary_tags.json, and two of ours.
  assert set(read_events(pretrained / 'train').scalars) == {
    'loss/shared_head_loss',
    'accuracy/shared_head_accuracy',
    'learning_rate',
    'cpu_seconds',
  }


def test_a_run_starts_from_pretrained_shared_features_and_resumes_without_them(
  pretrained, make_values, run_training, read_variables, tmp_path
):
  values = make_values(
    **SHARED, restore_shared_features_from=str(pretrained), train_log_dir=str(tmp_path), seed=5
  )
  assert run_training(values | {'train_steps': 1}) == 1
  first, given = (
    read_variables(str(tmp_path / 'model-0')),
    read_variables(str(pretrained / 'model-2')),
  )
  shared = [name for name in first if name.startswith(loop.SHARED)]
  assert len(shared) == 6
  for name in shared:
    np.testing.assert_array_equal(first[name], given[name])
  assert run_training(values | {'restore_shared_features_from': '/gone'}) == 2
  # Pre-training in its directory would drop all the rest of the model.
  (tmp_path / 'flags.json').unlink()
  with pytest.raises(InputError, match=r'model-2 .* it has \d+ more'):
    run_training(values | {'pretrain_shared_feature': True, 'train_steps': 3})


@pytest.mark.parametrize('name', ['model-9', 'empty', 'damaged', 'a*', 'other'])
def test_unusable_shared_features_are_refused(
  pretrained, make_values, run_training, tmp_path, name
):
  given, changes = tmp_path / 'from', {}
  shutil.copytree(pretrained, given)
  if name == 'empty':
    (given / name).mkdir()
  elif name == 'damaged':
    data = given / 'model-2.data-00000-of-00001'
    data.write_bytes(data.read_bytes()[:-4])
    name = 'model-2'
  elif name == 'other':
    name, changes = 'model-2', {'shared_features_dim': 3}
  values = make_values(
    **{**SHARED, **changes},
    restore_shared_features_from=str(given / name),
    train_log_dir=str(tmp_path / 'logs'),
  )
  with pytest.raises(InputError, match=r'restore_shared_features_from|model/shared_features/'):
    run_training(values)
  assert steps_on_disk(tmp_path / 'logs') == []


# Classes and cooldown.


@pytest.mark.parametrize(
  ('test', 'shared'), [('tiny:20-29', None), ('tiny:15-24', '5 of the 10'), ('tiny:0-19', '20 of')]
)
def test_training_classes_in_the_test_set_are_counted(settings_of, warnings, test, shared):
  settings = settings_of(train_dataset='tiny:0-19', test_dataset=test)
  inputs = graph_lib.open_inputs(settings, seed=1)
  inspection.warn_of_shared_classes(inputs.test.class_set, inputs.train.class_set, '--test_dataset')
  assert len(warnings) == (shared is not None)
  if shared is not None:
    assert shared in warnings[0]
    assert '--test_dataset' in warnings[0]


def test_a_run_notes_its_classes_and_says_what_changed(
  make_values, run_training, warnings, tmp_path
):
  folder = tmp_path / 'data'
  folder.mkdir()
  images = np.random.default_rng(0).integers(0, 256, (31, 8, 12, 12, 1), np.uint8)
  np.save(folder / 'mine.npy', images[:30])

  def train_to(steps, train_dataset='mine:0-19', **changes):
    run_training(
      make_values(
        data_numpy_dir=str(folder),
        train_log_dir=str(tmp_path / 'logs'),
        train_steps=steps,
        train_dataset=train_dataset,
        test_dataset='mine:20-29',
        **changes,
      )
    )

  train_to(1)
  noted = json.loads((tmp_path / 'logs' / 'flags.json').read_text())[flags_file.CLASSES]
  assert noted['train_dataset']['classes'] == 20
  assert noted['test_dataset']['images'] == 80
  train_to(2)
  assert warnings == []
  train_to(3, 'mine:0-18')
  (warning,) = warnings
  assert '--train_dataset' in warning
  assert 'mine:0-19 with 20 classes and 160 images before, mine:0-18 with 19 and 152' in warning
  warnings.clear()
  np.save(folder / 'mine.npy', images)  # made again, with one more class
  train_to(4, 'mine:0-18')
  assert [warning.split()[0] for warning in warnings] == ['--train_dataset', '--test_dataset']
  warnings.clear()
  np.save(folder / 'mine.npy', images[::-1])  # of the same sizes
  train_to(5, 'mine:0-18', learning_rate=0.5)
  texts = ['changed at step 4: learning_rate', '(different: pixels)', '(different: pixels)']
  for text, warning in zip([*texts[1:], texts[0], '10 of the 10'], warnings, strict=True):
    assert text in warning
  assert '10 of the 10 classes of --test_dataset were training classes' in warnings[-1]
  noted = json.loads((tmp_path / 'logs' / 'flags.json').read_text())
  assert [change['step'] for change in flags_file.history(noted)] == [2, 3, 4]
  warnings.clear()
  train_to(6, 'mine:0-18', learning_rate=0.5)  # the same again, and still with that history
  assert [warning.split()[0] for warning in warnings] == ['10']


@pytest.mark.parametrize(
  ('cooldown', 'step', 'train_steps', 'warns'),
  [
    (0.25, 80, 200, True),
    (0.25, 100, 101, True),
    (0.25, 75, 200, False),  # the rate has not fallen yet
    (0.25, 80, 100, False),  # the end is where it was to be
    (0.0, 100, 200, False),
  ],
)
def test_another_end_of_a_run_in_its_cooldown_is_warned_of(
  warnings, cooldown, step, train_steps, warns
):
  before = {'train_steps': 100, 'learning_rate_cooldown': cooldown}
  loop.warn_of_cooldown('logs', train_steps, before, step)
  assert len(warnings) == warns
  if warns:
    assert 'step 75' in warnings[0]
    assert f'train_steps={train_steps}' in warnings[0]


# How a run ends.


@pytest.fixture(scope='module')
def diverged(tmp_path_factory, make_values):
  """A run without a seed that diverges, because of an absurd learning rate.

  Returns:
    The exit status, the last error that is logged, and the directory of the run.
  """
  folder = tmp_path_factory.mktemp('diverged')
  values = make_values(
    train_log_dir=str(folder), train_steps=50, steps_between_saves=1, learning_rate=1e30
  )
  said: list[str] = []
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(logging, 'error', lambda text, *args: said.append(text % args))
    with pytest.raises(SystemExit) as ended:
      train.main(flags.settings_from(values))
  return ended.value.code, said[-1], folder


def test_a_loss_that_is_nan_ends_the_program_and_keeps_the_last_good_checkpoint(
  diverged, read_variables
):
  code, message, folder = diverged
  assert code == 1
  assert 'NaN' in message
  assert str(folder) in message
  assert '--learning_rate' in message
  assert 0 in steps_on_disk(folder)
  for prefix in checkpoints.find(str(folder)).values():
    for name, value in read_variables(prefix).items():
      assert np.isfinite(value).all(), name


def test_without_a_seed_one_is_drawn_and_kept(diverged, trained, settings_of, read_variables):
  """So a run that is resumed goes on with the episodes that it would have seen."""
  folder = diverged[-1]
  drawn = json.loads((folder / 'flags.json').read_text())['seed']
  assert isinstance(drawn, int)
  with loop.open_run(settings_of(train_log_dir=str(folder))) as run:
    assert run.seed == drawn
  with loop.open_run(settings_of(train_log_dir=str(folder), seed=5)) as run:
    assert run.seed == 5
  assert differ(
    read_variables(str(folder / 'model-0')), read_variables(str(trained.folder / 'model-0'))
  )
