"""One module for each command of `bench`: the table of contents.

It may import everything but `cli`.
"""
