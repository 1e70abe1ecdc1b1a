"""A simulated accelerator in C++: a backend outside torch, as a maker of hardware has one."""
