"""Programs that run in the service's own environment, with its settings and its code, and take requests over a pipe."""
