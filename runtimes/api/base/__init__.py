"""What all REST views share: authentication, permissions, parsers, pagination, errors and OpenAPI."""
