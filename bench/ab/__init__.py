"""The paired comparison of a baseline and a candidate, which take turns.

It may import everything but the commands, the page and the terminal.
"""
