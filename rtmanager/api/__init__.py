"""REST views of the service as a whole: health, metrics, doctor."""
