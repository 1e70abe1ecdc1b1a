"""The commands of `bench`, each as a table of contents; the flags are in `cli`.

`check` has `compare` as well; `derive` writes the files that follow from a journal; `bench
selftest` is a package of its own.

It may import everything but `cli`.
"""
