"""Episodes: class arrays on disk, sampling, augmentation, the tf.data pipeline."""
