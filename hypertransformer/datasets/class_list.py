"""classes.csv beside a dataset: the name, the split and the number of images of each class."""

from __future__ import annotations

CLASS_LIST = 'classes.csv'
CLASS_LIST_COLUMNS = ('class', 'split', 'name', 'images')
