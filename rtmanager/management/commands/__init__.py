"""The management commands of the service, one module each."""
