"""What a runtime is, and the port to Docker: records, states, container specifications and API tokens."""
