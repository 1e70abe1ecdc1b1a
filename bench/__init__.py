"""Measure what a PyTorch network costs, layer by layer, and say how sure the figures are."""
