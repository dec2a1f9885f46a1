"""The benchmark: what the service does, measured side by side with what one would use instead."""
