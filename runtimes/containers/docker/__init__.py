"""The adapter for a Docker daemon, on the Docker SDK."""
