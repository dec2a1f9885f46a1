"""WSGI and Django middleware, and the handlers for errors outside the REST API."""
