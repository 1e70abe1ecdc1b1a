"""Microbenchmarks of the ConvNet, and the answers to what is claimed of its layers."""
