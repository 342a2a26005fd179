"""The command from a wheel: in an empty directory, as another user, on a read-only file system."""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
NOBODY = 65534
# Another user may read what root can, such as this interpreter, but writes nothing of root's.
AS_NOBODY = f"""
setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups --inh-caps=+dac_read_search
--ambient-caps=+dac_read_search""".split()
READ_ONLY = 'mount --bind . . && mount -o remount,ro,bind / && cd "$PWD" && exec "$@"'
FEW = [
  '--train_dataset=strokes:0-9',
  '--test_dataset=strokes:10-19',
  '--eval_datasets=test=strokes:10-19',
  '--samples_cnn=5',
  '--train_steps=2',
]


def pip(*words: str) -> None:
  subprocess.run([sys.executable, '-m', 'pip', *words, '--quiet', '--no-deps'], check=True)


@pytest.fixture(scope='module')
def site(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
  """A directory into which the wheel of the package is installed."""
  folder = tmp_path_factory.mktemp('wheel')
  shutil.copytree(ROOT / 'hypertransformer', folder / 'source' / 'hypertransformer')
  for name in ('setup.py', 'pyproject.toml', 'README.md', 'LICENSE'):
    shutil.copy(ROOT / name, folder / 'source')
  pip('wheel', '--no-build-isolation', f'--wheel-dir={folder}', str(folder / 'source'))
  (wheel,) = folder.glob('*.whl')
  pip('install', '--no-index', f'--target={folder / "site"}', str(wheel))
  return folder / 'site'


@pytest.mark.slow
def test_the_quickstart_works_from_a_wheel(site: pathlib.Path, tmp_path: pathlib.Path) -> None:
  """In an empty directory, without HOME; where allowed, as nobody, with nothing else writable."""
  prefix = ['unshare', '--mount', 'bash', '-c', READ_ONLY, 'bash', *AS_NOBODY]
  if subprocess.run([*prefix, 'true'], cwd=tmp_path, check=False).returncode:
    prefix = []
  tmp_path.chmod(0o700)
  if prefix:
    shutil.chown(tmp_path, NOBODY, NOBODY)

  def call(*words: str) -> str:
    environment = {'PATH': '/usr/bin:/bin', 'PYTHONPATH': str(site)}
    done = subprocess.run(
      [*prefix, sys.executable, str(site / 'bin' / 'hypertransformer'), *words],
      cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout

  assert '  train  ' in call()
  call('train', 'quickstart', *FEW)
  assert (tmp_path / 'logs' / 'quickstart' / 'model-2.index').exists()
