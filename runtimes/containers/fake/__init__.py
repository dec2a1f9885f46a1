"""A Docker daemon in memory, for tests. The contract suite runs on it and on the real adapter."""
