"""Estimates, intervals and the spread between runs.  Functions of numbers.

This package reads no file and starts no process.  It may import `core`.
"""
