"""From events of torch.profiler to tables of layers, operators and memory."""
