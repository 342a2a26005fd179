"""What a run is made of: its flags, and the frozen dataclasses that their values become.

Nothing here imports TensorFlow.
"""
