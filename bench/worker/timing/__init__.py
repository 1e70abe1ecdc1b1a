"""Clocks, samples and the noise around them.  It does not import torch."""
