"""The command `hypertransformer demo`: a page on which people draw symbols for the model."""
