"""Prometheus metrics: gauges from a snapshot, counters from PostgreSQL, HTTP requests per process."""
