"""Fakes, builders of results, and what else several tests use."""
