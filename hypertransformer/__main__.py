"""The command `hypertransformer`, also `python -m hypertransformer`: runs one of its commands."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence

from hypertransformer import __version__, startup
from hypertransformer.errors import hint

# Command -> module of the package, and what it does. To add a command, add a line here.
COMMANDS = {
  'train': ('train', 'train a model with the flags of a recipe, or resume its training'),
  'evaluate': ('evaluate_model', 'evaluate the checkpoints of a run'),
  'report': ('report', 'tables, curves and pages about runs'),
  'convert omniglot': ('commands.convert_omniglot', 'make a dataset of the Omniglot release'),
  'convert miniimagenet': ('commands.convert_miniimagenet', 'make a dataset of miniImageNet'),
  'convert tieredimagenet': ('commands.convert_tieredimagenet', 'make one of tieredImageNet'),
  'convert images': ('commands.convert_images', 'make a dataset of your own images'),
  'convert strokes': ('commands.convert_strokes', 'generate the built-in dataset strokes'),
  'convert checkpoint': ('commands.convert_checkpoint', "the original's checkpoints <-> ours"),
  'inspect': ('commands.inspect_data', 'classes, brightness, splits and duplicates of a dataset'),
  'plot weights': ('commands.plot_weights', 'draw the kernels that a model generates'),
  'plot episode': ('commands.plot_episode', 'draw an episode before and after augmentation'),
  'predict': ('commands.predict', 'classify a folder of images by a few labeled ones'),
  'export': ('commands.export', 'write the CNN for a few labeled images to a file'),
  'demo': ('demo.server', 'draw symbols on a page, and have them learned and recognized'),
  'launch': ('commands.launch', 'start a training cluster on this machine'),
}


def main(arguments: Sequence[str] | None = None) -> None:
  """Run a command; list the commands if none is given.

  Args:
    arguments: The words after `hypertransformer`; None for those of the command line.
  """
  startup.start()
  words = list(sys.argv[1:] if arguments is None else arguments)
  if not words or words[0] in ('help', '--help', '-h', '--helpfull', '--version'):
    from hypertransformer import cli

    with cli.exit_on_bad_input():
      print(f'hypertransformer {__version__}' if words == ['--version'] else _overview())
  else:
    count = next((n for n in (2, 1) if ' '.join(words[:n]) in COMMANDS), 0)
    if not count:
      sys.exit(_refuse(words))
    module, _ = COMMANDS[' '.join(words[:count])]
    sys.argv = [f'hypertransformer {" ".join(words[:count])}', *words[count:]]
    runpy.run_module(f'hypertransformer.{module}', run_name='__main__', alter_sys=True)


def _overview() -> str:
  """Return the list of the commands."""
  width = max(map(len, COMMANDS))
  lines = [f'  {name:{width}}  {text}' for name, (_, text) in COMMANDS.items()]
  return '\n'.join(
    ['hypertransformer COMMAND ...', '', *lines, '', 'hypertransformer COMMAND --help shows more.']
  )


def _refuse(words: Sequence[str]) -> int:
  """Say on stderr that there is no such command, and return the exit status."""
  group = [name for name in COMMANDS if name.startswith(f'{words[0]} ')]
  given, known = (' '.join(words[:2]), group) if group else (words[0], list(COMMANDS))
  others = f'Use one of {", ".join(known)}.'
  advice = others if group and len(words) == 1 else hint(given, known, others)
  print(f'error: there is no command {given!r}. {advice}', file=sys.stderr)
  return 2


if __name__ == '__main__':
  main()
