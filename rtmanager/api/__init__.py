"""What belongs to the service as a whole: health, request ids, last-resort errors."""
