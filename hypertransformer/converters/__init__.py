"""Makes datasets: of downloaded releases, of folders of images, and of strokes that are drawn here.

They are written in the forms that `hypertransformer.data` reads. The commands call
this package. See docs/spec/data.md, sections 2 and 5.
"""
