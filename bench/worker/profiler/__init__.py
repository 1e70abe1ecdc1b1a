"""Makes tables of layers, operators and memory from the events of torch.profiler."""
