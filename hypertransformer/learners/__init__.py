"""Trained models as classifiers for other programs: arrays of images in, labels out.

A learner needs no flags and no data folder, and its caller need not know TensorFlow. It has a graph
and a session of its own: several learners can be open at once, and it does not matter whether the
caller's TensorFlow runs eagerly. Close a learner in the end, or use it in a `with`.
"""

from hypertransformer.data.files import packaged as pretrained_names
from hypertransformer.learners.continual import ContinualLearner
from hypertransformer.learners.few_shot import FewShotLearner

__all__ = ['ContinualLearner', 'FewShotLearner', 'pretrained_names']
