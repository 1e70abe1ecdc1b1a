"""The paired comparison of two variants, which take turns.

It may import everything but the commands, the page and the terminal.
"""
