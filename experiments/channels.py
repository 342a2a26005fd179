"""Draw accuracy over channels from experiments/results/results.csv: docs/channels.png.

  python experiments/channels.py

The runs channels_* of runs.json differ in what is generated: all layers, the logits layer alone, or
nothing but class means (--prototype_logits). A line is the mean over seeds, its band reaches from
the lowest to the highest seed.
"""

import pathlib

import matplotlib

matplotlib.use('agg')
import matplotlib.pyplot as plt
import pandas as pd

ROOT = pathlib.Path(__file__).resolve().parents[1]
NAME = r'channels_(?P<data>\w+)_(?P<channels>\d+)_(?P<generated>[a-z]+)_seed\d'
LABELS = {
  'all': 'all layers generated',
  'logits': 'logits layer generated',
  'prototypes': 'class means (Prototypical Network)',
}
TITLES = {'omniglot': 'Omniglot, 20-way 1-shot', 'cifar_fs': 'CIFAR-FS, 5-way 1-shot'}


def main() -> None:
  """Draw one panel for each dataset."""
  table = pd.read_csv(ROOT / 'experiments/results/results.csv')
  runs = table.join(table['run'].str.extract(NAME)).dropna(subset='generated')
  runs = runs[runs['preset'] == 'test'].astype({'channels': int})
  figure, panels = plt.subplots(1, len(TITLES), figsize=(9, 3.8), layout='constrained')
  for panel, (data, title) in zip(panels, TITLES.items(), strict=True):
    for kind, label in LABELS.items():
      chosen = runs[(runs['data'] == data) & (runs['generated'] == kind)]
      seeds = 100 * chosen.groupby('channels')['accuracy'].agg(['mean', 'min', 'max'])
      panel.plot(seeds.index, seeds['mean'], marker='o', label=label)
      panel.fill_between(seeds.index, seeds['min'], seeds['max'], alpha=0.25)
    panel.set(title=title, xlabel='channels', xscale='log', ylabel='test accuracy, %')
    channels = sorted(set(runs['channels']))
    panel.set_xticks(channels, map(str, channels))
    panel.minorticks_off()
    panel.grid(alpha=0.3)
  figure.legend(*panels[0].get_legend_handles_labels(), loc='outside upper center', ncols=3)
  figure.savefig(ROOT / 'docs/channels.png', dpi=90)


if __name__ == '__main__':
  main()
