"""Trained models for people who use them: arrays of images in, labels out. No flags, no data
folder, no TensorFlow.

A learner has a graph and a session of its own: several can be open at once, and it does not matter
whether the caller's TensorFlow runs eagerly. Close it, or use it in a `with`.
"""

from hypertransformer.learners.continual import ContinualLearner
from hypertransformer.learners.few_shot import FewShotLearner

__all__ = ['ContinualLearner', 'FewShotLearner']
