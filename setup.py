"""Packaging of hypertransformer: `pip install .`, or `pip install -e .[dev]` to work on it."""

import pathlib
import re

import setuptools

ROOT = pathlib.Path(__file__).parent
VERSION = re.search(r"__version__ = '([^']+)'", (ROOT / 'hypertransformer/__init__.py').read_text())
ONNX = ['tf2onnx>=1.17', 'onnx']  # earlier versions fail with NumPy 2
REPORT = ['matplotlib', 'pandas', 'jinja2']  # figures, tables, pages

setuptools.setup(
  name='hypertransformer',
  version=VERSION.group(1),
  description='A transformer that writes the weights of a CNN, for few-shot learning',
  long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
  long_description_content_type='text/markdown',
  license='Apache-2.0',
  keywords='few-shot learning, meta-learning, hypernetwork, transformer, continual learning',
  classifiers=[
    'Development Status :: 4 - Beta',
    'Intended Audience :: Science/Research',
    'Programming Language :: Python :: 3.10',
    'Topic :: Scientific/Engineering :: Artificial Intelligence',
    'Typing :: Typed',
  ],
  packages=setuptools.find_packages(include=['hypertransformer', 'hypertransformer.*']),
  package_data={
    'hypertransformer': [
      'py.typed',
      'demo/*.html',
      'pretrained/*/*',
      'recipes/*.flags',
      'reports/*.html',
      'reports/*.md',
    ]
  },
  entry_points={'console_scripts': ['hypertransformer = hypertransformer.__main__:main']},
  python_requires='>=3.10',
  install_requires=[
    'tensorflow>=2.16',
    'numpy>=1.26',
    'absl-py',
    'tensorboard',
    'pillow',
    'tqdm',
    'filelock',
  ],
  extras_require={
    'gpu': ['tensorflow[and-cuda]>=2.16'],
    # tensorflow-datasets 4.9.10 imports importlib_resources before a download, and does not say
    # that it needs it.
    'tfds': ['tensorflow-datasets>=4.9', 'importlib_resources'],
    'report': REPORT,
    'docs': ['mkdocs<2', 'mkdocs-material', 'mkdocstrings[python]'],
    'onnx': ONNX,
    # scikit-learn checks the conventions of learners, the next two run what learners export, and
    # the last two the notebook.
    'dev': [
      *('pytest', 'pytest-xdist', 'hypothesis', 'allpairspy', 'ruff', 'mypy', 'build'),
      *('scikit-learn', 'onnxruntime', 'ai-edge-litert', 'nbclient', 'ipykernel'),
      *(*REPORT, *ONNX),
    ],
  },
)
