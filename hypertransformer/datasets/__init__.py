"""The datasets on disk: how they are found, read, divided into classes and inspected.

The formats are described in docs/spec/data.md, section 1.
"""
