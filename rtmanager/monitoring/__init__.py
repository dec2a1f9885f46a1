"""What the service reports about itself: readiness and a snapshot of all components."""
