"""Runs inside the measuring processes, and is the only package that imports torch.

The modules here are started as processes.  They may import `core`, `host`, `start` and the packages
below.
"""
