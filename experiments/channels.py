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
  runs = runs[runs['preset'] == 'test'].assign(percent=lambda rows: 100 * rows['accuracy'])
  figure, panels = plt.subplots(1, len(TITLES), figsize=(9, 3.8), layout='constrained')
  for panel, (data, title) in zip(panels, TITLES.items(), strict=True):
    for kind, label in LABELS.items():
      chosen = runs[(runs['data'] == data) & (runs['generated'] == kind)]
      seeds = chosen.groupby(chosen['channels'].astype(int))['percent']
      mean, low, high = seeds.mean(), seeds.min(), seeds.max()
      panel.plot(mean.index, mean, marker='o', label=label)
      panel.fill_between(mean.index, low, high, alpha=0.25)
    panel.set(title=title, xlabel='channels', xscale='log', ylabel='test accuracy, %')
    panel.set_xticks([4, 8, 16], ['4', '8', '16'], minor=False)
    panel.minorticks_off()
    panel.grid(alpha=0.3)
  figure.legend(*panels[0].get_legend_handles_labels(), loc='outside upper center', ncols=3)
  figure.savefig(ROOT / 'docs/channels.png', dpi=90)


if __name__ == '__main__':
  main()
