"""What runs in the service's own environment, with its settings and its code, and is asked over a pipe."""
