"""Explains the difference of two profiles of one case: the parts that take longer, and why.

Functions of records: the package reads no file and starts no process.
"""
