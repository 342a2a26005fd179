"""The shell scripts: exactly the published flags, further flags passed on, from any folder."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
from typing import Any

import pytest
from absl import flags as absl_flags

from hypertransformer.data import specs
from hypertransformer.episodes import sequences
from hypertransformer.settings import config, flags

ROOT = pathlib.Path(__file__).resolve().parents[1]
RECIPES = pathlib.Path(__file__).parent / 'golden' / 'recipes.json'
SHARED_RECIPES = ROOT.parent / 'shared' / 'spec' / 'recipes.json'

# Run: the recipe, what differs from it, and the paper's accuracy.
RUNS: dict[str, tuple[str, dict[str, str], str]] = {
  'omniglot_1shot_v1': ('omniglot_1shot', {}, '96.2 %'),
  'omniglot_5shot_v1': (
    'omniglot_1shot',
    {'samples_transformer': '100', 'samples_cnn': '100'},
    '98.8 %',
  ),
  'miniimagenet_1shot_v1': ('miniimagenet_1shot', {}, '55.1 %'),
  'miniimagenet_5shot_v1': ('miniimagenet_1shot', {'samples_transformer': '25'}, '68.1 %'),
  'tieredimagenet_1shot_v1': ('tieredimagenet_1shot', {}, '56.3 %'),
  'tieredimagenet_5shot_v1': ('tieredimagenet_1shot', {'samples_transformer': '25'}, '73.9 %'),
}

# The same with the flags that were found best.
BEST = {'feature_normalization': 'support', 'learning_rate_cooldown': '0.25'}
RUNS |= {
  name.replace('_v1', '_v2'): (of, changes | BEST, paper)
  for name, (of, changes, paper) in list(RUNS.items())
}


def recipe(name: str) -> dict[str, str]:
  """The flags of a published run, as text."""
  recipes: dict[str, dict[str, Any]] = json.loads(RECIPES.read_text())
  of, changes, _ = RUNS[name]
  return {
    flag: str(value).lower() if isinstance(value, bool) else value
    for flag, value in (recipes[of] | changes).items()
  }


def test_the_recipes_are_the_shared_ones() -> None:
  if not SHARED_RECIPES.exists():
    pytest.skip(f'{SHARED_RECIPES} is not there')
  recipes = json.loads(RECIPES.read_text())
  assert recipes == json.loads(SHARED_RECIPES.read_text())
  assert recipes['omniglot_5shot'] == {'based_on': 'omniglot_1shot', **RUNS['omniglot_5shot_v1'][1]}


@pytest.fixture
def python(tmp_path: pathlib.Path) -> pathlib.Path:
  """A $PYTHON that prints its arguments, one a line, and a little of its environment."""
  path = tmp_path / 'python'
  path.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$@"\necho "PYTHONPATH=$PYTHONPATH" >&2\n')
  path.chmod(0o755)
  return path


def call(
  script: str | pathlib.Path,
  *arguments: str,
  python: pathlib.Path,
  cwd: pathlib.Path,
  **environment: str,
) -> subprocess.CompletedProcess[str]:
  inherited = {
    name: value for name, value in os.environ.items() if name not in ('PYTHONPATH', 'CDPATH')
  }
  return subprocess.run(
    ['bash', str(script), *arguments],
    cwd=cwd,
    capture_output=True,
    text=True,
    timeout=60,
    env=inherited | {'PYTHON': str(python)} | environment,
    check=False,
  )


def arguments_of(done: subprocess.CompletedProcess[str]) -> list[str]:
  assert done.returncode == 0, done.stderr
  return done.stdout.splitlines()


def as_flags(arguments: list[str]) -> dict[str, str]:
  pairs = [re.fullmatch(r'--(\w+)=(.*)', argument) for argument in arguments]
  assert all(pairs), arguments
  found = [(pair[1], pair[2]) for pair in pairs if pair]
  assert len(found) - len(dict(found)) <= 2, 'only what a script changes of another is given twice'
  return dict(found)  # of two equal flags the last counts


@pytest.mark.skipif(
  sys.version_info < (3, 11), reason='Python 3.10 looks in the current folder first'
)
def test_the_code_is_that_of_the_script_s_checkout(tmp_path: pathlib.Path) -> None:
  """Also where the caller stands in a folder with a package of that name."""
  (tmp_path / 'hypertransformer').mkdir()
  (tmp_path / 'hypertransformer' / '__init__.py').write_text('raise SystemExit("another checkout")')
  done = call(
    ROOT / 'scripts' / 'run.sh',
    'no_such_program',
    python=pathlib.Path(sys.executable),
    cwd=tmp_path,
  )
  assert 'another checkout' not in done.stderr
  assert 'No module named hypertransformer.no_such_program' in done.stderr


def test_there_is_a_script_for_each_run() -> None:
  assert sorted(path.stem for path in (ROOT / 'scripts').glob('*_v[0-9].sh')) == sorted(RUNS)


@pytest.mark.parametrize('name', RUNS)
def test_a_run_has_exactly_the_published_flags(
  name: str, python: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  module, *arguments = arguments_of(
    call(ROOT / 'scripts' / f'{name}.sh', python=python, cwd=tmp_path)
  )[1:]
  assert module == 'hypertransformer.train'
  assert as_flags(arguments) == recipe(name)


@pytest.mark.parametrize('name', RUNS)
def test_the_flags_are_ours(name: str) -> None:
  """Every one exists, and its value can be read as its kind."""
  known = {flag.name: flag for flag in flags.ALL_FLAGS}
  for flag, value in recipe(name).items():
    if known[flag].kind is bool:
      assert value in ('true', 'false')
    else:
      known[flag].kind(value)


@pytest.mark.parametrize('name', RUNS)
def test_a_script_opens_with_the_papers_number(name: str) -> None:
  opening = (ROOT / 'scripts' / f'{name}.sh').read_text().splitlines()[1:4]
  assert all(line.startswith('# ') for line in opening)
  text = '\n'.join(opening)
  shots = re.search(r'\d', name)
  assert shots is not None
  assert f'{"20" if name.startswith("omniglot") else "5"}-way {shots[0]}-shot' in text
  assert 'arXiv 2201.04182' in text
  assert RUNS[name][2] in text
  assert '\n# Measured: ' in text


def test_the_8_channel_omniglot_run_names_its_own_number_too() -> None:
  assert '87.2 %' in (ROOT / 'scripts' / 'omniglot_1shot_v1.sh').read_text()


def test_further_flags_come_last_and_unchanged(
  python: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  further = [
    '--train_log_dir=a folder/logs',
    '--train_steps=5',
    '--eval_datasets=a=x:1,b=y:2',
    '--seed',
    '3',
    '',
  ]
  arguments = arguments_of(
    call(ROOT / 'scripts' / 'omniglot_1shot_v1.sh', *further, python=python, cwd=tmp_path)
  )
  assert arguments[-len(further) :] == further


@pytest.fixture
def checkout(tmp_path: pathlib.Path) -> pathlib.Path:
  """The scripts in a checkout with a blank in its name."""
  path = tmp_path / 'my checkout'
  shutil.copytree(ROOT / 'scripts', path / 'scripts')
  return path


@pytest.mark.parametrize('script', ['omniglot_1shot_v1.sh', 'omniglot_5shot_v1.sh', 'evaluate.sh'])
def test_a_script_runs_from_any_folder(
  script: str, checkout: pathlib.Path, python: pathlib.Path
) -> None:
  """By a relative path, with a CDPATH that makes `cd` talk. Relative paths in flags stay the
  caller's.
  """
  elsewhere = checkout.parent / 'elsewhere'
  elsewhere.mkdir()
  given = [] if script.startswith('omniglot') else ['omniglot_1shot_v1']
  for cwd, path in (
    (elsewhere, f'../my checkout/scripts/{script}'),
    (checkout, f'scripts/{script}'),
  ):
    done = call(path, *given, python=python, cwd=cwd, CDPATH=f'{checkout}:.')
    assert arguments_of(done)[0] == '-m'
    assert f'PYTHONPATH={checkout}\n' in done.stderr


def test_the_checkouts_own_environment_is_used_if_there_is_one(
  checkout: pathlib.Path, python: pathlib.Path
) -> None:
  own = checkout / '.venv' / 'bin' / 'python'
  own.parent.mkdir(parents=True)
  own.write_text('#!/usr/bin/env bash\necho own\n')
  own.chmod(0o755)
  script = checkout / 'scripts' / 'omniglot_1shot_v1.sh'
  assert call(script, python=pathlib.Path(), cwd=checkout, PYTHON='').stdout == 'own\n'
  own.unlink()
  python.rename(python.with_name('python3'))
  path = f'{python.parent}:{os.environ["PATH"]}'
  assert call(script, python=pathlib.Path(), cwd=checkout, PYTHON='', PATH=path).stdout.startswith(
    '-m\n'
  )


CONTINUAL = [
  f'continual_{data}_{scenario}'
  for data in ('omniglot', 'tieredimagenet')
  for scenario in config.CONTINUAL_SCENARIOS
]


@pytest.mark.parametrize('name', RUNS)
@pytest.mark.parametrize('ending', ['', '.sh'])
def test_the_evaluator_has_the_flags_of_the_run(
  name: str, ending: str, python: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  done = call(
    ROOT / 'scripts' / 'evaluate.sh',
    name + ending,
    '--eval_once',
    '--train_log_dir=my logs',
    python=python,
    cwd=tmp_path,
  )
  module, *arguments = arguments_of(done)[1:]
  assert module == 'hypertransformer.evaluate_model'
  assert arguments[-2:] == ['--eval_once', '--train_log_dir=my logs']
  assert as_flags(arguments[:-2]) == recipe(name)


@pytest.mark.parametrize(
  'name',
  [
    'omniglot_2shot_v1',
    'omniglot_1shot',
    'cifar_1shot_v1',
    'run',
    '../omniglot_1shot_v1',
    '',
    'omniglot_1shot_v1 omniglot_5shot_v1',
    '*',
    '--eval_once',
  ],
)
def test_the_evaluator_refuses_runs_that_there_are_not(
  name: str, python: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  done = call(ROOT / 'scripts' / 'evaluate.sh', name, '--eval_once', python=python, cwd=tmp_path)
  assert done.returncode == 2
  assert done.stdout == ''
  known = ' '.join([*sorted(CONTINUAL), *sorted(RUNS)])
  assert done.stderr == f"error: '{name}' is no run of scripts/; expected one of: {known}.\n"


@pytest.mark.parametrize('name', CONTINUAL)
def test_the_evaluator_of_a_continual_run(
  name: str, python: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  done = call(ROOT / 'scripts' / 'evaluate.sh', name, '--eval_once', python=python, cwd=tmp_path)
  module, *arguments = arguments_of(done)[1:]
  assert module == 'hypertransformer.evaluate_model'
  assert f'--continual_scenario={name.split("_", 2)[2]}' in arguments
  assert arguments[-1] == '--eval_once'


def test_the_evaluator_without_a_run(python: pathlib.Path, tmp_path: pathlib.Path) -> None:
  done = call(ROOT / 'scripts' / 'evaluate.sh', python=python, cwd=tmp_path)
  assert done.returncode == 2
  assert 'is no run of scripts/; expected one of: ' in done.stderr


# What all six have, and what a dataset's three change of its run of single tasks.
OF_SEQUENCES = {
  'num_tasks': '3',
  'eval_num_tasks': '5',
  'embedding_units': '32',
  'generated_weight_scale': '0.03',
  'gradient_norm_clip': '10.0',
  'add_trainable_weights': 'true',
  'num_eval_batches': '1',
  'train_steps': '200000',
  'steps_between_saves': '10000',
}
OF_DATASET = {
  'omniglot': {'num_labels': '5', 'samples_transformer': '5', 'samples_cnn': '15'},
  'tieredimagenet': {'samples_cnn': '25'},
}


def test_there_is_a_continual_script_for_each_scenario() -> None:
  assert sorted(path.stem for path in (ROOT / 'scripts').glob('continual_*.sh')) == sorted(
    CONTINUAL
  )


@pytest.mark.parametrize('name', CONTINUAL)
def test_a_continual_run_is_that_of_single_tasks_with_few_changes(
  name: str, python: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  _, data, scenario = name.split('_', 2)
  given = arguments_of(
    call(
      ROOT / 'scripts' / f'{name}.sh',
      '--continual_method=constant_protonet',
      python=python,
      cwd=tmp_path,
    )
  )
  assert given[1] == 'hypertransformer.train'
  assert given[-1] == '--continual_method=constant_protonet'
  assert given[2] == '--continual_scenario=class_incremental'
  own = given[
    3:-1
  ]  # the other scenarios are that script with one flag more: of two, the last one counts
  if scenario != 'class_incremental':
    assert own.pop() == f'--continual_scenario={scenario}'
  assert as_flags(own) == {**recipe(f'{data}_1shot_v1'), **OF_SEQUENCES, **OF_DATASET[data]}
  evaluator = call(
    ROOT / 'scripts' / f'{name}.sh',
    python=python,
    cwd=tmp_path,
    HYPERTRANSFORMER_PROGRAM='evaluate_model',
  )
  assert arguments_of(evaluator)[1:] == ['hypertransformer.evaluate_model', *given[2:-1]]


@pytest.mark.parametrize('method', config.CONTINUAL_METHODS)
@pytest.mark.parametrize('name', CONTINUAL)
def test_the_flags_of_a_continual_run_go_together(
  name: str, method: str, python: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  """As the programs read them, and the evaluation's presets have enough classes."""
  given = arguments_of(call(ROOT / 'scripts' / f'{name}.sh', python=python, cwd=tmp_path))[2:]
  holder = absl_flags.FlagValues()
  flags.define(holder)
  holder(['program', *given, f'--continual_method={method}'])
  values = flags.values(holder)
  continual = flags.settings_from(values).continual
  assert continual is not None
  assert (continual.scenario, continual.prototypical) == (name.split('_', 2)[2], True)
  assert flags.settings_from(values).model.embedding_units == 32
  assert flags.settings_from(values).optimizer == config.OptimizerConfig(
    'sgd',
    values['learning_rate'],
    1e5,
    0.95,
    train_steps=values['train_steps'],
    gradient_norm_clip=10.0,
  )
  tasks = flags.settings_from(values).episodes
  assert (tasks.num_labels, tasks.support_samples, tasks.balanced) == (5, 5, True)
  needed = sequences.episode_config(tasks, continual, continual.eval_length).num_labels
  assert needed == (5 if continual.scenario == 'mini_batch' else 25)
  assert all(
    len(spec.classes or ()) >= needed
    for _, spec in specs.parse_eval_datasets(values['eval_datasets'])
  )


@pytest.mark.parametrize('name', CONTINUAL)
def test_a_continual_script_opens_with_what_it_is(name: str) -> None:
  opening = '\n'.join(
    line
    for line in (ROOT / 'scripts' / f'{name}.sh').read_text().splitlines()[1:]
    if line.startswith('#')
  )
  assert name.split('_', 2)[2] in opening
  assert f'./scripts/{name}.sh --data_numpy_dir=' in opening
  for text in (
    '5-way 1-shot',
    'arXiv 2301.04584',
    'Measured: ',
    '--continual_method=',
    f'evaluate.sh {name}',
  ):
    assert text in opening


def test_every_script_can_be_executed() -> None:
  scripts = sorted((ROOT / 'scripts').glob('*.sh'))
  assert [path.name for path in scripts if not os.access(path, os.X_OK)] == []
  assert {path.read_text().splitlines()[0] for path in scripts} == {'#!/usr/bin/env bash'}
