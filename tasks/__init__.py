"""The edges: processes, queues and clocks."""
