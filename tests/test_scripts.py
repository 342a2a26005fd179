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

from hypertransformer import cli
from hypertransformer.data import specs
from hypertransformer.episodes import sequences
from hypertransformer.settings import config, flags

ROOT = pathlib.Path(__file__).resolve().parents[1]
SCRIPTS = ROOT / 'scripts'
RECIPES = ROOT / 'hypertransformer' / 'recipes'
PUBLISHED = pathlib.Path(__file__).parent / 'golden' / 'recipes.json'
SHARED_RECIPES = ROOT.parent / 'shared' / 'spec' / 'recipes.json'

# Run: the published one, what differs from it, and the paper's accuracy.
RUNS: dict[str, tuple[str, dict[str, Any], str]] = {
  'omniglot_1shot_v1': ('omniglot_1shot', {}, '96.2 %'),
  'omniglot_5shot_v1': (
    'omniglot_1shot',
    {'samples_transformer': 100, 'samples_cnn': 100},
    '98.8 %',
  ),
  'miniimagenet_1shot_v1': ('miniimagenet_1shot', {}, '55.1 %'),
  'miniimagenet_5shot_v1': ('miniimagenet_1shot', {'samples_transformer': 25}, '68.1 %'),
  'tieredimagenet_1shot_v1': ('tieredimagenet_1shot', {}, '56.3 %'),
  'tieredimagenet_5shot_v1': ('tieredimagenet_1shot', {'samples_transformer': 25}, '73.9 %'),
}
# The same with the flags that were found best.
BEST = {'feature_normalization': 'support', 'learning_rate_cooldown': 0.25}
RUNS |= {
  name.replace('_v1', '_v2'): (of, changes | BEST, paper)
  for name, (of, changes, paper) in list(RUNS.items())
}
# What learns fastest (docs/learning.md), on top of v2.
FASTER = {
  'optimizer': 'adam',
  'learning_rate': 0.001,
  'learning_rate_decay_rate': 1.0,
  'add_trainable_weights': True,
  'add_trainable_weights_to': 'convolutions',
  'generated_weight_scale': 0.03,
}
RUNS |= {
  name.replace('_v2', '_v3'): (of, changes | FASTER, paper)
  for name, (of, changes, paper) in list(RUNS.items())
  if name in ('omniglot_1shot_v2', 'omniglot_5shot_v2')
}
CONTINUAL = [
  f'continual_{data}_{scenario}'
  for data in ('omniglot', 'tieredimagenet')
  for scenario in config.CONTINUAL_SCENARIOS
]
# CIFAR-100 as two benchmarks, which the paper does not have.
COLOR = {
  f'{data}_{shot}': {
    'train_dataset': train,
    'test_dataset': f'{data}:80-99',
    'eval_datasets': data,
    'image_size': 32,
    'train_steps': 100_000,
    **FASTER,
    'prototype_logits': True,
  }
  for data, train in (('cifar_fs', 'cifar_fs:0-63'), ('fc100', 'fc100:0-59'))
  for shot in ('1shot', '5shot')
}
# What all six have, and what a dataset's three change of its run of single tasks.
OF_SEQUENCES = {
  'num_tasks': 3,
  'eval_num_tasks': 5,
  'embedding_units': 32,
  'generated_weight_scale': 0.03,
  'gradient_norm_clip': 10.0,
  'add_trainable_weights': True,
  'num_eval_batches': 1,
  'train_steps': 200_000,
  'steps_between_saves': 10_000,
}
OF_DATASET: dict[str, dict[str, Any]] = {
  'omniglot': {'num_labels': 5, 'samples_transformer': 5, 'samples_cnn': 15},
  'tieredimagenet': {'samples_cnn': 25},
}


def parsed(arguments: list[str]) -> dict[str, Any]:
  """The value of every flag, as the programs read their arguments."""
  holder = absl_flags.FlagValues()
  flags.define(holder)
  rest = holder(['program', *cli.expand_flagfiles(arguments)])
  assert rest == ['program']
  return flags.values(holder)


def expected(name: str) -> dict[str, Any]:
  """The value of every flag of a run, as published."""
  if name in RUNS:
    of, changes, _ = RUNS[name]
    published = json.loads(PUBLISHED.read_text())[of]
    return parsed([f'--{flag}={value}' for flag, value in published.items()]) | changes
  if name in COLOR:
    return expected(f'miniimagenet_{name.split("_")[-1]}_v2') | COLOR[name]
  _, data, scenario = name.split('_', 2)
  single = expected(f'{data}_1shot_v1')
  return single | OF_SEQUENCES | OF_DATASET[data] | {'continual_scenario': scenario}


def test_the_published_flags_are_the_shared_ones() -> None:
  if not SHARED_RECIPES.exists():
    pytest.skip(f'{SHARED_RECIPES} is not there')
  recipes = json.loads(PUBLISHED.read_text())
  assert recipes == json.loads(SHARED_RECIPES.read_text())


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
  shell: str = 'bash',
  **environment: str,
) -> subprocess.CompletedProcess[str]:
  inherited = {
    name: value for name, value in os.environ.items() if name not in ('PYTHONPATH', 'CDPATH')
  }
  return subprocess.run(
    [shell, str(script), *arguments],
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


def test_there_is_a_script_and_a_recipe_for_each_run() -> None:
  scripts = [path.stem for path in SCRIPTS.glob('*shot*.sh')]
  scripts += [path.stem for path in SCRIPTS.glob('continual_*.sh')]
  assert sorted(scripts) == sorted([*RUNS, *CONTINUAL, *COLOR])
  recipes = [path.stem for path in RECIPES.glob('*')]
  assert sorted(recipes) == sorted([*RUNS, *CONTINUAL, *COLOR, 'quickstart'])


@pytest.mark.parametrize('name', [*RUNS, *CONTINUAL, *COLOR])
@pytest.mark.parametrize('ending', ['', '.sh'])
def test_a_run_and_its_evaluator_have_exactly_the_published_flags(
  name: str, ending: str, python: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  further = ['--train_log_dir=my logs', '--seed', '3']
  wanted = expected(name) | {'train_log_dir': 'my logs', 'seed': 3}
  for script, program in (
    ([SCRIPTS / f'{name}.sh'], 'train'),
    ([SCRIPTS / 'evaluate.sh', f'{name}{ending}'], 'evaluate_model'),
  ):
    done = call(*script, *further, python=python, cwd=tmp_path)
    minus_m, module, *arguments = arguments_of(done)
    assert (minus_m, module) == ('-m', f'hypertransformer.{program}')
    assert arguments[-len(further) :] == further
    assert parsed(arguments) == wanted


def test_further_flags_are_passed_on_unchanged(
  python: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  (tmp_path / 'mine.flags').write_text('--num_labels=7\n')
  further = ['--eval_datasets=a=x:1,b=y:2', '--flagfile=mine.flags', '--seed', '3', '']
  done = call(SCRIPTS / 'omniglot_1shot_v1.sh', *further, python=python, cwd=tmp_path)
  assert arguments_of(done)[-len(further) :] == further


@pytest.mark.parametrize('name', [path.stem for path in sorted(RECIPES.glob('*'))])
def test_a_recipe_holds_no_default_and_nothing_twice(name: str) -> None:
  lines = (RECIPES / f'{name}.flags').read_text().splitlines()
  assert lines[0].startswith('# ')
  own = [line for line in lines if line.startswith('--') and '--flagfile' not in line]
  nested = [f'--flagfile={RECIPES / line[11:]}' for line in lines if line.startswith('--flagfile')]
  base, made = parsed(nested), parsed([*nested, *own])
  assert len(own) == sum(base[flag] != made[flag] for flag in made)


@pytest.mark.skipif(
  sys.version_info < (3, 11), reason='Python 3.10 looks in the current folder first'
)
def test_the_code_is_that_of_the_script_s_checkout(tmp_path: pathlib.Path) -> None:
  """Also where the caller stands in a folder with a package of that name."""
  (tmp_path / 'hypertransformer').mkdir()
  (tmp_path / 'hypertransformer' / '__init__.py').write_text('raise SystemExit("another checkout")')
  done = call(
    SCRIPTS / 'run.sh', 'no_such_program', python=pathlib.Path(sys.executable), cwd=tmp_path
  )
  assert 'another checkout' not in done.stderr
  assert 'No module named hypertransformer.no_such_program' in done.stderr


@pytest.fixture
def checkout(tmp_path: pathlib.Path) -> pathlib.Path:
  """The scripts and recipes in a checkout with a blank in its name."""
  path = tmp_path / 'my checkout'
  shutil.copytree(SCRIPTS, path / 'scripts')
  shutil.copytree(RECIPES, path / 'hypertransformer' / 'recipes')
  return path


@pytest.mark.parametrize('shell', ['bash', 'sh'])
@pytest.mark.parametrize('script', ['omniglot_5shot_v1.sh', 'evaluate.sh'])
def test_a_script_runs_from_any_folder_and_shell(
  script: str, shell: str, checkout: pathlib.Path, python: pathlib.Path
) -> None:
  """By a relative path, with a CDPATH that makes `cd` talk. Relative paths in flags stay the
  caller's.
  """
  elsewhere = checkout.parent / 'elsewhere'
  elsewhere.mkdir()
  given = [] if script.startswith('omniglot') else ['omniglot_5shot_v1']
  for cwd, path in (
    (elsewhere, f'../my checkout/scripts/{script}'),
    (checkout, f'scripts/{script}'),
    (checkout / 'scripts', script),
  ):
    done = call(path, *given, python=python, cwd=cwd, shell=shell, CDPATH=f'{checkout}:.')
    assert parsed(arguments_of(done)[2:])['samples_transformer'] == 100
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


@pytest.mark.parametrize(
  'name',
  [
    'omniglot_2shot_v1',
    'run',
    '../omniglot_1shot_v1',
    '',
    'omniglot_1shot_v1 omniglot_5shot_v1',
    '*',
    '--eval_once',
    None,
  ],
)
def test_the_evaluator_refuses_runs_that_there_are_not(
  name: str | None, python: pathlib.Path, tmp_path: pathlib.Path
) -> None:
  given = [] if name is None else [name, '--eval_once']
  done = call(SCRIPTS / 'evaluate.sh', *given, python=python, cwd=tmp_path)
  assert done.returncode == 2
  assert done.stdout == ''
  known = ' '.join(sorted([*CONTINUAL, *RUNS, *COLOR, 'quickstart']))
  assert done.stderr == f"error: '{name or ''}' is not a recipe; expected one of: {known}.\n"


@pytest.mark.parametrize('method', config.CONTINUAL_METHODS)
@pytest.mark.parametrize('name', CONTINUAL)
def test_the_flags_of_a_continual_run_go_together(name: str, method: str) -> None:
  """The evaluation's presets have enough classes, too."""
  made = flags.settings_from(
    parsed([f'--flagfile={RECIPES / name}.flags', f'--continual_method={method}'])
  )
  assert made.continual is not None
  needed = sequences.episode_config(
    made.episodes, made.continual, made.continual.eval_length
  ).num_labels
  assert needed == (5 if made.continual.scenario == 'mini_batch' else 25)
  assert all(
    len(spec.classes or ()) >= needed
    for _, spec in specs.parse_eval_datasets(made.data.eval_datasets)
  )


def opening_of(name: str) -> list[str]:
  lines = (SCRIPTS / f'{name}.sh').read_text().splitlines()[1:]
  return [line for line in lines if line.startswith('#')]


@pytest.mark.parametrize('name', RUNS)
def test_a_script_opens_with_the_papers_number(name: str) -> None:
  text = '\n'.join(opening_of(name))
  shots = re.search(r'\d', name)
  assert shots is not None
  for part in (
    f'{"20" if name.startswith("omniglot") else "5"}-way {shots[0]}-shot',
    'arXiv 2201.04182',
    RUNS[name][2],
    '\n# Measured: ',
    f'./scripts/{name}.sh --data_numpy_dir=',
    f'evaluate.sh {name}',
  ):
    assert part in text


@pytest.mark.parametrize('name', CONTINUAL)
def test_a_continual_script_opens_with_what_it_is(name: str) -> None:
  text = '\n'.join(opening_of(name))
  for part in (
    name.split('_', 2)[2],
    '5-way 1-shot',
    'arXiv 2301.04584',
    '\n# Measured: ',
    '--continual_method=',
    f'./scripts/{name}.sh --data_numpy_dir=',
    f'evaluate.sh {name}',
  ):
    assert part in text


def test_every_script_can_be_executed() -> None:
  scripts = sorted(SCRIPTS.glob('*.sh'))
  assert [path.name for path in scripts if not os.access(path, os.X_OK)] == []
  assert {path.read_text().splitlines()[0] for path in scripts} == {'#!/usr/bin/env bash'}


def test_flagfiles_in_flagfiles_are_found_beside_them(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  (tmp_path / 'inner').mkdir()
  (tmp_path / 'a.flags').write_text('# text\n\n  --x=1\n--flagfile=inner/b.flags\n--x=3\n')
  (tmp_path / 'inner' / 'b.flags').write_text('--x=2\n--flagfile=c.flags\n--flagfile=none.flags\n')
  (tmp_path / 'inner' / 'c.flags').write_text(f'--y\n--flagfile={tmp_path}/a.flags\n')
  monkeypatch.chdir(tmp_path / 'inner')
  assert cli.expand_flagfiles(['word', f'--flagfile={tmp_path}/a.flags', '--x=4']) == [
    'word', '--x=1', '--x=2', '--y', f'--flagfile={tmp_path}/a.flags', '--flagfile=none.flags',
    '--x=3', '--x=4',
  ]  # fmt: skip


@pytest.mark.parametrize('script', sorted(path.name for path in SCRIPTS.glob('*.sh')))
def test_any_shell_starts_a_script(script: str) -> None:
  """The first command of each starts bash, unless bash runs it."""
  first = next(line for line in (SCRIPTS / script).read_text().splitlines() if line[:1] != '#')
  assert first.startswith(('exec bash ', '[ -n "${BASH_VERSION:-}" ] || exec bash "$0" "$@"'))
