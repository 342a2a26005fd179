"""The commands of `hypertransformer` beside train, evaluate and report: programs with own flags.

`hypertransformer.__main__` lists them. utils/ has a shim for each, to run it from a checkout.
"""
