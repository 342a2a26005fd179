"""Making data: from downloads of strangers, images in folders, and drawn strokes, to the files of
`datasets`.
"""
