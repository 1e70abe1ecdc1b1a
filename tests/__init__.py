"""Tests: the name of each is the promise it holds."""
