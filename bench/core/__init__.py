"""Words and numbers that everything shares: records, axes, subjects, units, errors.

Pure: it imports nothing of this project.
"""
