"""All that a run is made of: flags, and the frozen dataclasses that their values become. Without
TensorFlow.
"""
