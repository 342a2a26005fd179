"""Folder and flags that are not those of the chief are refused."""

from __future__ import annotations

import pathlib

import pytest

from hypertransformer.cluster import agreement
from hypertransformer.cluster.board import Run
from hypertransformer.errors import InputError
from hypertransformer.settings import flags

RUN = Run(1, flags.defaults(), 'token of the chief')


def test_the_folder_of_the_chief_is_known_by_its_token(
  tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
  monkeypatch.setattr(agreement, 'SECONDS_TO_APPEAR', 0.0)
  ours, other = tmp_path / 'ours', tmp_path / 'other'
  ours.mkdir()
  other.mkdir()
  agreement.mark(str(ours), RUN.token)
  agreement.require_same_folder(str(ours), RUN)
  for folder in (other, tmp_path / 'missing'):
    with pytest.raises(InputError, match='is not the folder in which the chief trains'):
      agreement.require_same_folder(str(folder), RUN)
  agreement.mark(str(ours), 'that of an earlier chief')
  with pytest.raises(InputError, match='is not the folder'):
    agreement.require_same_folder(str(ours), RUN)
  assert [path.name for path in ours.iterdir()] == [agreement.MARK]


def test_flags_must_be_those_of_the_chief_but_for_those_of_a_machine() -> None:
  values = flags.defaults()
  agreement.require_same_flags(values, RUN)
  agreement.require_same_flags(
    values | {'data_numpy_dir': '/here', 'kernel_threads': 4, 'seed': 5, 'eval_once': True}, RUN
  )
  with pytest.raises(InputError, match=r'--heads is 7, that of the chief'):
    agreement.require_same_flags(values | {'heads': 7}, RUN)
  with pytest.raises(InputError, match=r'--sync_replicas is True, that of the chief False'):
    agreement.require_same_flags(values | {'sync_replicas': True}, RUN)
