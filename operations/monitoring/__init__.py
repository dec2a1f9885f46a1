"""Heartbeats, component status and counters of the service itself."""
