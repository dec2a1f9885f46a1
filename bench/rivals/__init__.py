"""The alternatives to RTM: real products with their best settings."""
