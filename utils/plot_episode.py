"""Run `hypertransformer plot episode` from this checkout."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from hypertransformer.__main__ import main

if __name__ == '__main__':
  main(['plot', 'episode', *sys.argv[1:]])
