"""Estimates, intervals and what differs between runs: numbers in, numbers out.

It knows no file and no process.  It may import `core`.
"""
