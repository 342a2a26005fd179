"""Settings that no machine has the memory for are refused before anything is built."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.errors import InputError
from hypertransformer.settings import from_flags, memory
from tests.model import small_models

GIGABYTE = 10**9
SAME = {
  'num_labels': 20,
  'samples_transformer': 20,
  'samples_cnn': 60,
  'cnn_model_name': 'maxpool-4-layer',
  'default_num_channels': 8,
  'embedding_dim': 32,
  'lw_weight_allocation': 'output',
  'num_layerwise_features': '8',
  'shared_feature_extractor': '4-layer',
  'shared_feature_extractor_padding': 'same',
  'stride': 1,
  'num_layers': 3,
  'heads': 2,
  'image_size': 28,
}


@pytest.mark.parametrize(
  ('flags', 'named'),
  [
    ({'num_layers': 10**6}, '--num_layers'),
    ({'heads': 10**6}, '--heads'),
    ({'default_num_channels': 10**6}, '--default_num_channels'),
    ({'image_size': 10**6}, '--image_size'),
    ({'episodes_per_step': 10**6}, '--episodes_per_step'),
    ({'embedding_dim': 10**6}, '--embedding_dim'),
    ({'lw_inner_dim': 1e308}, '--lw_inner_dim'),
    ({'lw_key_query_dim': 1e12}, '--lw_key_query_dim'),
    ({'num_labels': 10**6, 'samples_transformer': 10**6}, '--num_labels'),
    ({'samples_transformer': 10**7}, '--samples_transformer'),
    ({'samples_cnn': 10**9}, '--samples_cnn'),
    ({'eval_batch_size': 10**9}, '--eval_batch_size'),
    ({'kernel_size': 10**6}, '--kernel_size'),
    ({'shared_features_dim': 10**7}, '--shared_features_dim'),
    ({'continual_scenario': 'class_incremental', 'num_tasks': 10**7}, '--num_tasks'),
  ],
  ids=lambda value: ' '.join(value) if isinstance(value, dict) else None,
)
def test_a_size_that_no_machine_has_is_refused_with_its_flag(values, flags, named):
  settings = from_flags.settings_from(values(**{**SAME, **flags}))
  with pytest.raises(InputError, match='trained numbers and one episode') as error:
    memory.require_memory(settings, 24 * GIGABYTE)
  assert named in str(error.value)
  assert len(str(error.value).splitlines()) == 1


def test_published_sizes_pass(values):
  memory.require_memory(from_flags.settings_from(values(**SAME)), GIGABYTE)


def test_nothing_is_refused_where_the_memory_is_unknown(values):
  memory.require_memory(from_flags.settings_from(values(**{**SAME, 'num_layers': 10**6})), 0)


def test_the_memory_of_this_machine_is_asked_for(values, monkeypatch):
  monkeypatch.setattr(memory, 'machine_memory', lambda: 10)
  with pytest.raises(InputError, match='this machine has 1 GB'):
    memory.require_memory(from_flags.settings_from(values(**SAME)))


@pytest.mark.parametrize('generator', ['joint', 'separate'])
@pytest.mark.parametrize('allocation', ['output', 'spatial'])
def test_the_estimate_is_most_of_what_is_built_and_never_more(values, generator, allocation):
  flags = {**SAME, 'heads': 1, 'layerwise_generator': generator, 'lw_weight_allocation': allocation}
  settings = from_flags.settings_from(values(**flags))
  counted = memory.estimate(settings).trained_numbers
  with tf.Graph().as_default():
    built = small_models.built(np.random.default_rng(0), settings.model, side=28)
    assert built.classified is not None
    true = sum(v.shape.num_elements() for v in tf.trainable_variables() if 'generator' in v.op.name)
  assert true / 2 < counted <= true


@pytest.mark.parametrize('name', ['lw_inner_dim', 'learning_rate', 'eval_timeout_secs'])
@pytest.mark.parametrize('value', [float('inf'), float('nan'), -float('inf')])
def test_numbers_must_be_finite(values, name, value):
  with pytest.raises(InputError, match=f'{name} is .*; it must be a finite number'):
    from_flags.settings_from(values(**{name: value}))


def test_whole_numbers_must_fit_in_63_bits(values):
  with pytest.raises(InputError, match=r'seed is .*; it must be a whole number below 2.63'):
    from_flags.settings_from(values(seed=2**63))


@pytest.mark.parametrize('threads', [-1, 1025, 2**31 - 1])
def test_threads_are_bounded(values, threads):
  with pytest.raises(InputError, match=r'kernel_threads is .*; it must be 0 .* to 1024'):
    from_flags.settings_from(values(kernel_threads=threads))


def test_the_tilde_in_paths_is_the_home_folder(values, monkeypatch):
  monkeypatch.setenv('HOME', '/home/me')
  settings = from_flags.settings_from(
    values(
      data_numpy_dir='~/data',
      data_dir='~/tfds',
      train_log_dir='~/logs',
      restore_shared_features_from='~/other',
      shared_feature_extractor='2-layer',
      eval_checkpoint='~/logs/model-3',
    )
  )
  assert settings.data.folder == '/home/me/data'
  assert settings.data.tfds_folder == '/home/me/tfds'
  assert settings.run.log_dir == '/home/me/logs'
  assert settings.run.restore_shared_from == '/home/me/other'
  assert settings.evaluation.checkpoint == '/home/me/logs/model-3'
  assert settings.flag_values['train_log_dir'] == '/home/me/logs'


def test_a_byte_0_in_a_path_is_refused(values):
  with pytest.raises(InputError, match='no path can have a byte 0 in it'):
    from_flags.settings_from(values(train_log_dir='/tmp/a\0b'))
