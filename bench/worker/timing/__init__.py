"""Clocks, samples and the noise around them.  This package does not import torch."""
