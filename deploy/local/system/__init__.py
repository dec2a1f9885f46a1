"""Helpers around the operating system: shell commands, signals, ports, processes."""
