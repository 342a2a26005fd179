"""The HyperTransformer: it writes the weights of a small CNN from the images of a support set.

hypertransformer.py holds the model for a single task (docs/spec/model.md) and continual.py the one
for sequences of tasks (docs/spec/continual.md). The other modules are the parts of these two.
"""
