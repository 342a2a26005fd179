"""The evaluator that runs beside a training: what it evaluates, what it writes, when it ends."""

from __future__ import annotations

import csv
import errno
import hashlib
import json
import math
import os
import pathlib
import shutil
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as tf

from hypertransformer.data.folder import DataFolder
from hypertransformer.episodes import pipeline
from hypertransformer.episodes.sampling import EpisodeSampler
from hypertransformer.errors import InputError
from hypertransformer.evaluation import best, results
from hypertransformer.evaluation.daemon import Daemon
from hypertransformer.evaluation.metrics import Scores
from hypertransformer.evaluation.per_class import ClassTally
from hypertransformer.runtime import checkpoints
from hypertransformer.settings import flags, flags_file
from hypertransformer.settings.config import AugmentationConfig, EpisodeConfig

# What is written.


def test_a_line_has_these_keys_and_values(bench: Any) -> None:
  prefix = bench.save(5, 0.5)
  bench.evaluator.during = lambda preset, number: time.sleep(0.05)
  bench.run()
  (line,) = bench.results()
  seconds, on = line.pop('seconds'), line.pop('measured')
  assert (on['dataset'], on['ways'], on['support_images'], on['seed']) == ('tiny:val', 4, 8, None)
  assert (on['tasks'], on['query_images'], on['query_batch_size']) == (4, 40, 20)
  assert 0.05 <= seconds < 5
  assert 0.0 < line.pop('nearest_pixels') <= 1.0
  assert line.pop('nearest_pixels_ci95') >= 0.0
  # Accuracies 1/4, 1/2, 1/2, 3/4: s^2 = 2/16 / 3. Disjoint: 1/4 and 1/2 (the other two tasks have
  # none): s^2 = 1/32.
  assert line == {
    'checkpoint': 'model-5',
    'checkpoint_sha256': hashlib.sha256(pathlib.Path(f'{prefix}.index').read_bytes()).hexdigest(),
    'step': 5,
    'preset': 'val',
    'dataset': 'tiny:val',
    'accuracy': 0.5,
    'ci95': pytest.approx(1.959964 * math.sqrt(1 / 24 / 4)),
    'num_tasks': 4,
    'num_queries': 40,
    'accuracy_disjoint': 0.375,
    'ci95_disjoint': pytest.approx(1.959964 * math.sqrt(1 / 32 / 2)),
    'accuracy_inductive': 0.75,
    'ci95_inductive': 0.0,
  }
  assert any(text.startswith('step 5  val: 50.00 ') for text in bench.lines)


def test_every_checkpoint_is_evaluated_on_every_preset(
  bench: Any, read_events: Callable[[pathlib.Path], Any]
) -> None:
  """By step, in whatever order they were saved; it ends with that of the last step."""
  for step, accuracy in ((10, 0.5), (5, 0.25), (20, 0.75)):
    bench.save(step, accuracy)
  bench.run('test', 'a, "b"/c', train_steps=20, eval_timeout_secs=60.0)
  assert [(line['step'], line['preset'], line['accuracy']) for line in bench.results()] == [
    (step, preset, accuracy)
    for step, accuracy in ((5, 0.25), (10, 0.5), (20, 0.75))
    for preset in ('test', 'a, "b"/c')
  ]
  events = read_events(bench.folder / 'eval')
  assert events.scalars == {
    f'eval_{name}/{preset}': values
    for preset in ('test', 'a, "b"/c')
    for name, values in (
      ('accuracy', {5: 0.25, 10: 0.5, 20: 0.75}),
      ('accuracy_disjoint', dict.fromkeys((5, 10, 20), 0.375)),
      ('accuracy_inductive', dict.fromkeys((5, 10, 20), 0.75)),
    )
  }
  assert events.pictures['episode/test'] == [5, 10, 20]
  assert not (bench.folder / 'best').exists(), 'there is no preset val'
  assert {
    path.name for path in (bench.folder / 'eval').iterdir() if not path.name.startswith('events.')
  } == {'results.jsonl', 'flags.json'}


SEQUENCES = {'continual_scenario': 'class_incremental', 'eval_num_tasks': 2}


def continual_scores(mean: float) -> Scores:
  """Two sequences of 2 tasks: mean + .25 after the first task, mean after the second."""
  cells = [
    [[mean + 0.25, np.nan], [mean + shift - 0.05, mean + shift + 0.05]] for shift in (-0.05, 0.05)
  ]
  return Scores(np.array(cells), np.array([0.25, 0.5]), np.array([0.5, 0.5]))


def test_sequences_have_a_matrix_and_a_table(
  bench: Any, read_events: Callable[[pathlib.Path], Any]
) -> None:
  bench.evaluator.scores = continual_scores
  for step, accuracy in ((5, 0.25), (10, 0.5)):
    bench.save(step, accuracy)
    bench.run(**SEQUENCES)
  line = bench.results()[-1]
  assert (line['accuracy'], line['accuracy_disjoint'], line['num_tasks'], line['num_queries']) == (
    pytest.approx(0.5), 0.375, 2, 20,
  )  # fmt: skip
  assert line['nearest_pixels'] is None
  found = line['continual']
  assert (found['scenario'], found['method']) == ('class_incremental', 'continual_hypertransformer')
  assert found['matrix'][0] == [pytest.approx(0.75), None]
  assert (found['forgetting'], found['backward_transfer']) == pytest.approx((0.3, -0.3))
  assert line['measured']['sequence'] == {
    'scenario': 'class_incremental', 'mixed_queries': False, 'num_tasks': 2,
  }  # fmt: skip
  assert bench.best() == line
  events = read_events(bench.folder / 'eval')
  assert events.pictures['eval_matrix/val'][-1] == 10
  assert events.scalars['eval_average_accuracy/val/after_task_1'][10] == 0.75
  table = bench.folder / 'eval' / 'continual.csv'
  with table.open(newline='') as file:
    rows = list(csv.DictReader(file))
  assert [(row['step'], float(row['value'])) for row in rows if row['measure'] == 'forgetting'] == [
    (str(line['step']), line['continual']['forgetting']) for line in bench.results()
  ]
  before = table.read_text()
  table.unlink()
  bench.run(**SEQUENCES)
  assert table.read_text() == before, 'as after a crash between the line and the table'
  assert bench.steps() == [5, 10]


# Which checkpoints.


def test_new_checkpoints_are_taken_as_they_appear(bench: Any) -> None:
  """The file `checkpoint` is not read: a trainer in a container writes other paths into it."""
  bench.save(5, 0.5)

  def train_on(preset: str, number: int) -> None:
    if number < 3:
      bench.save(5 + 5 * number, 0.5)
      (bench.folder / 'checkpoint').write_text('model_checkpoint_path: "/container/model-99"\n')

  bench.evaluator.during = train_on
  bench.run(train_steps=15, eval_timeout_secs=60.0)
  assert bench.steps() == [5, 10, 15]


def test_the_untrained_model_is_not_evaluated(bench: Any) -> None:
  for step in (0, 5):
    bench.save(step, 0.5)
  bench.run(train_steps=5)
  assert bench.steps() == [5]


def test_it_ends_when_nothing_new_comes(bench: Any) -> None:
  start = time.monotonic()
  bench.run(eval_timeout_secs=1.5)
  assert 1.5 <= time.monotonic() - start < 10
  assert bench.steps() == []
  assert any('--eval_timeout_secs' in line for line in bench.lines)


def test_eval_once_takes_the_newest_checkpoint(bench: Any) -> None:
  with pytest.raises(InputError, match=f'--train_log_dir={bench.folder}'):
    bench.run(eval_once=True)
  for step in (5, 20, 10):
    bench.save(step, 0.5)
  bench.run(eval_once=True, eval_timeout_secs=0.0)
  assert bench.steps() == [20]


@pytest.mark.parametrize('path', ['model-5', 'model-5.index', 'model-5.data-00000-of-00001', '.'])
def test_eval_checkpoint_takes_a_checkpoint_a_file_of_it_or_its_folder(
  bench: Any, path: str
) -> None:
  """That it is evaluated already does not matter."""
  bench.save(3, 0.25)
  bench.save(5, 0.5)
  for _ in range(2):
    bench.run(eval_checkpoint=str(bench.folder / path), eval_timeout_secs=0.0)
  assert [(line['checkpoint'], line['step']) for line in bench.results()] == [('model-5', 5)] * 2


def test_eval_checkpoint_may_be_of_another_run(bench: Any, tmp_path: pathlib.Path) -> None:
  bench.save(7, 0.5)
  bench.run()
  (tmp_path / 'other').mkdir()
  other = bench.save(7, 0.25, folder=tmp_path / 'other')
  bench.run(eval_checkpoint=other)
  assert [(line['checkpoint'], line['accuracy']) for line in bench.results()] == [
    ('model-7', 0.5),
    (other, 0.25),
  ]


@pytest.mark.parametrize('path', ['model-6', 'none/model-5'])
def test_eval_checkpoint_that_does_not_exist_is_refused(bench: Any, path: str) -> None:
  bench.save(5, 0.5)
  with pytest.raises(InputError, match=f'--eval_checkpoint=.*/{path}'):
    bench.run(eval_checkpoint=str(bench.folder / path))
  assert not (bench.folder / 'eval').exists()


# Nothing is done twice, and results are distinguished by what they were measured on.


def test_a_second_evaluator_repeats_nothing(bench: Any) -> None:
  bench.save(5, 0.5)
  bench.run('val')
  bench.save(10, 0.5)
  for _ in range(2):
    bench.run('val', 'test')
  assert [(line['step'], line['preset']) for line in bench.results()] == [
    (5, 'val'),
    (5, 'test'),
    (10, 'val'),
    (10, 'test'),
  ]
  bench.folder = bench.folder.rename(bench.folder.with_name('elsewhere'))
  bench.run('val', 'test')
  assert len(bench.steps()) == 4
  by_class = ClassTally(bench._classes).fields()
  scores = bench.evaluator.scores
  bench.evaluator.scores = lambda mean: scores(mean)._replace(per_class=by_class)
  for _ in range(2):  # what lacks the accuracy per class is evaluated again, once
    bench.run('val', 'test', per_class=True)
  assert [line.get('per_class') for line in bench.results()] == [None] * 4 + [by_class] * 4
  state = tf.train.get_checkpoint_state(str(bench.folder / 'best'))
  assert state.model_checkpoint_path == str(bench.folder / 'best' / 'model-5')


@pytest.mark.parametrize('shift', [-1e6, 0.0, 1e6], ids=['past', 'present', 'future'])
def test_the_content_of_a_checkpoint_counts_and_not_its_time(bench: Any, shift: float) -> None:
  """A training that resumes writes its checkpoint once more; one from a backup is another one."""

  def save(accuracy: float) -> None:
    os.utime(f'{bench.save(5, accuracy)}.index', (time.time() + shift,) * 2)

  save(0.25)
  bench.evaluator.during = lambda preset, number: save(0.25)
  for _ in range(3):
    bench.run()
  assert bench.steps() == [5]
  bench.evaluator.during = lambda preset, number: None
  save(0.5)
  bench.run()
  bench.run()
  assert [line['accuracy'] for line in bench.results()] == [0.25, 0.5]


@pytest.mark.parametrize(
  'changes',
  [
    {'samples_transformer': 12},
    {'seed': 4},
    {'test_negate_probability': 0.5},
    {'num_eval_batches': 1},
    SEQUENCES | {'balanced_batches': True},
  ],
  ids=lambda changes: next(iter(changes)),
)
def test_another_evaluation_is_done_once_and_the_best_stays(
  bench: Any, changes: dict[str, Any]
) -> None:
  """Coming back to the first one, nothing is repeated."""
  if 'continual_scenario' in changes:
    bench.evaluator.scores = continual_scores
  bench.save(5, 0.5)
  bench.run()
  bench.save(10, 0.75)
  for _ in range(2):
    bench.run(**changes)
  assert bench.steps() == [5, 5, 10]
  assert bench.best()['step'] == 5
  assert any(
    f'{bench.folder}/best' in line and 'another evaluation' in line for line in bench.lines
  )
  bench.run(learning_rate=9.0, train_steps=7)
  bench.run(**changes)
  assert bench.steps() == [5, 5, 10, 10]
  assert bench.best()['step'] == 10


# Checkpoints that cannot be evaluated.


def assert_skipped(bench: Any, reason: str) -> None:
  (warning,) = bench.skipped()
  assert f'{bench.folder}/model-5' in warning
  assert reason in warning


def test_a_damaged_checkpoint_is_evaluated_when_it_is_complete(bench: Any) -> None:
  """Also if a later checkpoint was complete before it."""
  for step in (5, 10):
    bench.save(step, 0.5)
  data = bench.folder / 'model-5.data-00000-of-00001'
  content = data.read_bytes()
  data.write_bytes(content[:-1])
  bench.run()
  assert bench.steps() == [10]
  assert_skipped(bench, 'incomplete')

  def complete(preset: str, number: int) -> None:
    data.write_bytes(content)
    bench.save(20, 0.5)

  bench.save(15, 0.5)
  bench.evaluator.during = complete
  bench.run(train_steps=20, eval_timeout_secs=60.0)
  assert bench.steps() == [10, 15, 5, 20]


def test_a_checkpoint_without_data_or_step_or_of_another_type_is_skipped(
  bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
  bench.save(5, 0.5, with_step=False)
  pathlib.Path(f'{bench.save(10, 0.5)}.data-00000-of-00001').unlink()
  for step in (15, 20):
    bench.save(step, 0.5)
  restore = bench.evaluator.restore

  def fail(prefix: str) -> None:
    if prefix.endswith('model-15'):
      raise tf.errors.InvalidArgumentError(None, None, 'tensor of another type')
    restore(prefix)

  monkeypatch.setattr(bench.evaluator, 'restore', fail)
  bench.run()
  assert bench.steps() == [20]
  assert len(bench.skipped()) == 3


def test_a_checkpoint_of_another_model_is_skipped_unless_it_is_the_last(bench: Any) -> None:
  bench.save(5, 0.5, shape=(2,))
  bench.save(10, 0.5)
  bench.run()
  assert bench.steps() == [10]
  assert_skipped(bench, 'accuracy: has [2], needs []')
  for values in ({'train_steps': 5, 'eval_timeout_secs': 0.0}, {'eval_once': True}):
    bench.delete(10)
    with pytest.raises(InputError, match=r'model-5.* another model .*--train_log_dir'):
      bench.run(**values)


def test_only_damaged_checkpoints_are_an_error_at_the_time_out(bench: Any) -> None:
  """Not before: what cannot be read may be on its way."""
  pathlib.Path(f'{bench.save(5, 0.5)}.index').write_bytes(b'')
  with pytest.raises(InputError, match=f'{bench.folder} .*model-5'):
    bench.run(train_steps=5)
  assert any('--eval_timeout_secs' in line for line in bench.lines)


def test_a_run_with_other_flags_is_refused(bench: Any) -> None:
  """Its variables may fit all the same; with other activations, the numbers would be wrong."""
  bench.save(5, 0.5)
  flags_file.write_flags(str(bench.folder), flags.defaults())
  with pytest.raises(InputError, match=f"{bench.folder} .*--cnn_activation was 'relu', is 'lrelu'"):
    bench.run(cnn_activation='lrelu', eval_timeout_secs=0.0)
  bench.run()
  assert bench.steps() == [5]


def test_a_checkpoint_that_is_deleted_during_its_evaluation_can_be_the_best(bench: Any) -> None:
  bench.save(5, 0.5)
  bench.evaluator.during = lambda preset, number: bench.delete(5)
  bench.run('test', 'val')
  assert bench.steps() == [5, 5]
  assert bench.skipped() == []
  kept = str(bench.folder / 'best' / 'model-5')
  assert checkpoints.find(str(bench.folder / 'best')) == {5: kept}
  assert tf.train.load_checkpoint(kept).get_tensor('accuracy') == 0.5


def test_checkpoints_that_are_deleted_before_their_turn_are_counted(bench: Any) -> None:
  """Also those that come and go during an evaluation, as the trainer notes each."""
  bench.save(5, 0.5)
  bench.save(10, 0.5)
  notes = tf.io.TFRecordWriter(str(bench.folder / 'events.out.tfevents.1'))

  def train_on(preset: str, number: int) -> None:
    if number == 1:
      for step in range(0, 200, 5):
        saved = tf.SessionLog(status=tf.SessionLog.CHECKPOINT)
        notes.write(tf.Event(step=step, session_log=saved).SerializeToString())
      notes.flush()
      bench.delete(10)
      bench.save(200, 0.5)

  bench.evaluator.during = train_on
  bench.run()
  assert (bench.steps(), bench.skipped()) == ([5, 200], [])
  (line,) = [line for line in bench.lines if 'have no result' in line]
  assert line.startswith('38 of 40 checkpoints')
  assert 'steps 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, ... 195' in line
  assert '--steps_between_saves' in line


# Crashes and full disks: what has no line is evaluated again.


@pytest.mark.parametrize('after', ['best.keep', 'results.append', '_write_table'])
@pytest.mark.parametrize('during', [False, True])
def test_a_crash_at_any_moment_loses_no_line_and_writes_none_twice(
  bench: Any, monkeypatch: pytest.MonkeyPatch, after: str, during: bool
) -> None:
  for step, accuracy in ((5, 0.25), (10, 0.5)):
    bench.save(step, accuracy)
  owner = {'best.keep': best, 'results.append': results, '_write_table': Daemon}[after]
  name = after.rpartition('.')[2]
  function, calls = getattr(owner, name), []

  def crash(*args: Any) -> None:
    calls.append(args)
    if len(bench.evaluator.evaluated) == 2 and during:
      raise KeyboardInterrupt
    function(*args)
    if len(bench.evaluator.evaluated) == 2:
      raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(owner, name, crash)
    with pytest.raises(KeyboardInterrupt):
      bench.run()
  bench.run()
  assert bench.steps() == [5, 10]
  assert bench.best()['step'] == 10
  assert checkpoints.find(str(bench.folder / 'best')).keys() == {10}


@pytest.mark.parametrize('what', ['results', 'best'])
def test_a_full_disk_ends_it_with_one_line_and_the_next_one_resumes(
  bench: Any, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
  for step in (5, 10):
    bench.save(step, 0.5)

  def full(*args: Any) -> None:
    path = bench.folder / what
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

  with monkeypatch.context() as patch:
    owner, name = {'results': (results, 'append'), 'best': (best, 'keep')}[what]
    patch.setattr(owner, name, full)
    with pytest.raises(
      InputError, match=f'{bench.folder}/{what} .*No space left on device'
    ) as told:
      bench.run()
  assert '\n' not in str(told.value)
  assert bench.steps() == []
  bench.run()
  assert (bench.steps(), bench.best()['step']) == ([5, 10], 5)


def test_a_folder_that_cannot_be_made_is_refused(bench: Any) -> None:
  bench.folder = bench.folder / 'file'
  bench.folder.touch()
  with pytest.raises(InputError, match='/file'):
    bench.run()


@pytest.mark.parametrize('name', ['eval', 'best', 'eval/results.jsonl', 'best/.part'])
def test_a_folder_with_a_link_is_refused(bench: Any, tmp_path: pathlib.Path, name: str) -> None:
  bench.save(5, 0.5)
  other = tmp_path / 'other'
  other.mkdir()
  (bench.folder / name).parent.mkdir(exist_ok=True)
  (bench.folder / name).symlink_to(other)
  with pytest.raises(InputError, match=f'{name} is a link'):
    bench.run()
  assert list(other.iterdir()) == []


def test_data_that_become_shorter_end_it_with_one_line(
  bench: Any, tmp_path: pathlib.Path, data_folder: pathlib.Path
) -> None:
  path = shutil.copy(data_folder / 'tiny.npy', tmp_path)
  classes = DataFolder(str(tmp_path)).open('tiny:0-29')
  os.truncate(path, 200)
  bench.save(5, 0.5)

  def sample(preset: str, number: int) -> None:
    sampler = EpisodeSampler(classes, EpisodeConfig(3, 6, 9), 0, 0)
    with tf.Graph().as_default(), tf.Session() as session:
      stream = pipeline.stream(sampler, AugmentationConfig(), 12, 'stream')
      session.run(stream.initializer, {stream.first: 0})
      session.run(stream.next())

  bench.evaluator.during = sample
  with pytest.raises(InputError, match=r'tiny\.npy was changed while it was in use'):
    bench.run()
  assert bench.steps() == []


def test_a_line_that_is_no_result_is_skipped(bench: Any) -> None:
  bench.save(5, 0.5)
  bench.run()
  path = bench.folder / 'eval' / 'results.jsonl'
  line = path.read_text()
  path.write_text(f'{json.dumps({"step": 3})}\n{line}{line[:50]}')
  bench.save(10, 0.5)
  bench.run()
  assert [each['step'] for each in results.read(path)] == [5, 10]
