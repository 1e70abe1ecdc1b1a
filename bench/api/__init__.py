"""The Python door: measure and compare in this process, run in isolated ones, read results."""
