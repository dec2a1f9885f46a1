"""What one would use instead: each the real thing, with its best settings."""
