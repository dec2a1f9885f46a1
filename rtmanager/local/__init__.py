"""The whole service on one machine, for `make run`, `make demo` and `make test`. Never part of an installation."""
