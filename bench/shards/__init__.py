"""The shards of a run: read from their directories, compared, and merged into one run.

A kind of machine is one run; figures of two kinds are never averaged.
"""
