"""Devices and their drivers, torch's switches, and its private names."""
