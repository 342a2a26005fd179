"""What README and docs/ say: commands that exist, flags that exist, links that lead somewhere."""

from __future__ import annotations

import os
import pathlib
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from hypertransformer.__main__ import COMMANDS
from hypertransformer.settings import flags

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGES = [ROOT / 'README.md', ROOT / 'CONTRIBUTING.md', *sorted((ROOT / 'docs').rglob('*.md'))]
FLAGS = {flag.name for flag in flags.ALL_FLAGS}
# Of absl and of bash's built-ins; programs that are not ours.
OTHERS = {'cp', 'tensorboard', 'pip', '.', 'git', 'taskset', 'export', 'cd', 'mkdir', 'ls', 'unzip'}
OTHERS |= {'for', 'done'}
README = (ROOT / 'README.md').read_text()


def commands(text: str) -> list[list[str]]:
  """The commands in the blocks of shell code, as words, without prompts, output and comments."""
  found = []
  for block in re.findall(r'```shell\n(.*?)```', text, re.DOTALL):
    for line in block.replace('\\\n', ' ').splitlines():
      if line and line[0] not in ' #':
        found.append(shlex.split(line, comments=True))
  return found


def source_of(program: str) -> str:
  """The source of a program, which a shim in utils/ only starts."""
  text = (ROOT / program).read_text()
  shim = re.search(r'Run `hypertransformer ([\w ]+)` from this checkout', text)
  return module_of(shim[1]).read_text() if shim else text


def module_of(command: str) -> pathlib.Path:
  return ROOT / 'hypertransformer' / (COMMANDS[command][0].replace('.', '/') + '.py')


def flags_of(program: str) -> set[str]:
  """The flags that a command defines itself, read from its source."""
  text = source_of(program)
  return set(re.findall(r"DEFINE_\w+\(\s*'(\w+)'", text)) | set(
    re.findall(r"flags\.declare_key_flag\('(\w+)'", text)
  )


def takes_run_flags(program: str) -> bool:
  """Whether a command takes the flags of a run besides its own."""
  return program.startswith('benchmarks/') or 'cli.run_settings(' in source_of(program)


def unknown(words: list[str]) -> list[str]:
  """What of a command does not exist."""
  while words and (re.fullmatch(r'\w+=\S*', words[0]) or words[0] in ('taskset', '-c', '1', '0')):
    words = words[1:]
  if not words or words[0] in OTHERS:
    return []
  known, missing = FLAGS, []
  if words[0].startswith('--') or words[0] == 'printf':
    pass  # flags alone, for the training or the evaluator; printf writes them to a file
  elif words[0] == 'hypertransformer':
    found = [name for n in (1, 2) if (name := ' '.join(words[1 : 1 + n])) in COMMANDS]
    missing = [] if found or len(words) == 1 else words[1:2]
    for name in found:
      known = FLAGS | flags_of(str(module_of(name).relative_to(ROOT)))
  elif words[0] in ('python', '.venv/bin/python') and words[1] == '-m':
    if words[2].startswith('hypertransformer.'):
      path = ROOT / (words[2].replace('.', '/') + '.py')
      missing = [] if path.exists() else [words[2]]
      known = FLAGS | (flags_of(str(path.relative_to(ROOT))) if path.exists() else set())
    else:
      return []
  elif words[0] in ('python', '.venv/bin/python'):
    path = ROOT / words[1]
    missing = [] if path.exists() else [words[1]]
    if path.exists():
      known = flags_of(words[1]) | (FLAGS if takes_run_flags(words[1]) else set())
  else:
    missing = [] if (ROOT / words[0]).exists() else [words[0]]
    if words[0].endswith('evaluate.sh') and len(words) > 1:
      missing += [] if (ROOT / 'scripts' / f'{words[1]}.sh').exists() else [words[1]]
    if words[0].endswith('with_flags_of.sh') and (ROOT / words[1]).exists():
      known = FLAGS | flags_of(words[1])
    if words[0].endswith('launch_local.sh'):
      source = source_of('utils/launch_local.py')
      known = FLAGS | set(re.findall(r"add_argument\(\s*'--(\w+)'", source))
    if words[0].endswith(('run_tests.sh', 'build_docs.sh', 'setup_venv.sh')):
      return missing
  names = [match[2] for word in words if (match := re.match(r'--(no)?(\w+)', word))]
  return missing + [f'--{name}' for name in names if name not in known | {'help', 'flagfile'}]


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_exists_with_its_flags(page: pathlib.Path) -> None:
  assert {
    ' '.join(words): unknown(words) for words in commands(page.read_text()) if unknown(words)
  } == {}


def test_a_command_that_does_not_exist_is_found() -> None:
  text = '```shell\n./scripts/omniglot_1shot_v1.sh --train_stepz=3\npython utils/no.py --x=1\n```\n'
  assert [unknown(words) for words in commands(text)] == [['--train_stepz'], ['utils/no.py', '--x']]


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_inside_the_repository_leads_somewhere(page: pathlib.Path) -> None:
  links = re.findall(r'\]\(([^)#:\s]+)(?:#[^)]*)?\)', page.read_text())
  assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize('page', PAGES[2:], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_picture_names_the_command_that_makes_it(page: pathlib.Path) -> None:
  parts = re.split(r'!\[[^]]*\]\(([\w./]+)\)', page.read_text())
  pictures = dict(zip(parts[1::2], parts[2::2], strict=True))
  without = [
    name for name, text in pictures.items() if not re.search(r'(python|scripts/)', text[:700])
  ]
  assert without == []


def test_readme_is_short() -> None:
  assert len(README.splitlines()) <= 200


@pytest.mark.slow
def test_the_commands_for_own_data_work(tmp_path: pathlib.Path) -> None:
  """As README gives them, on generated pictures of 11 classes, but for the length of training."""
  photos, rng = tmp_path / 'photos', np.random.default_rng(3)
  for number in range(11):
    folder = photos / ('train' if number < 6 else 'test') / f'class {number}'
    folder.mkdir(parents=True)
    base = rng.integers(0, 200, (32, 32, 3))
    for sample in range(20):
      pixels = (base + rng.integers(0, 56, base.shape)).astype(np.uint8)
      Image.fromarray(pixels).save(folder / f'{sample}.png')
  section = README.split('## Your own images')[1].split('\n## ')[0]
  block = re.findall(r'```shell\n(.*?)```', section, re.DOTALL)[0]
  for old, new in (
    ('~/photos', str(photos)),
    ('--train_steps=10000', '--train_steps=2 --num_task_evals=2 --num_eval_batches=1'),
  ):
    assert old in block
    block = block.replace(old, new)
  (tmp_path / 'data_numpy_dir').mkdir()
  for folder in ('hypertransformer', 'scripts', 'utils'):
    (tmp_path / folder).symlink_to(ROOT / folder)
  python = pathlib.Path(sys.executable)
  done = subprocess.run(
    ['bash', '-ec', block],
    cwd=tmp_path,
    env={**os.environ, 'PYTHON': str(python), 'PATH': f'{python.parent}:{os.environ["PATH"]}'},
    capture_output=True,
    text=True,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  assert (tmp_path / 'photos.png').exists()
  assert (tmp_path / 'logs/mine/model-2.index').exists()
  assert (tmp_path / 'logs/mine/eval/results.jsonl').exists()
