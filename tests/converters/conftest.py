"""Lets the tests of the converters import the small releases beside this file.

They are in small_miniimagenet.py and small_tieredimagenet.py.
"""

from __future__ import annotations

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
