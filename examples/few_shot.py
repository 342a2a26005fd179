"""New classes from few images: python examples/few_shot.py logs/model-20000 data_numpy_dir/omniglot.npy"""
import sys

import numpy as np

from hypertransformer.learners import FewShotLearner

checkpoint, data = sys.argv[1:]
with FewShotLearner(checkpoint) as learner:
  images = np.load(data)[-learner.num_labels:]          # uint8 [classes, samples, height, width, channels]
  names = [f'class {number}' for number in range(learner.num_labels)]
  learner.fit(images[:, 0], names)                      # one image of each
  predicted = learner.predict(np.concatenate(images[:, 1:6]))
  print('accuracy:', np.mean(predicted == np.repeat(names, 5)))
