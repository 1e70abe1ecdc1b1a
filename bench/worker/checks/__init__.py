"""Checks that the measured work was the work that was asked for."""
