"""Definitions that every other package uses: records, axes, subjects, units, errors.

Pure: it imports nothing else of this project.
"""
