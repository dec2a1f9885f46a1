"""REST endpoints that read runtimes; ``base/`` holds what all REST views share."""
