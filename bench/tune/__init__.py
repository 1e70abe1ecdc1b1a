"""Finds the fastest settings of a network that still compute the right result.

It may import everything but the commands, the page and the terminal.
"""
