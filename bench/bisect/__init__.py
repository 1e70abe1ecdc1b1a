"""The search for the commit that made a case slower or faster, by pairs of GOOD and a commit.

It may import everything but the commands, the page and the terminal.
"""
