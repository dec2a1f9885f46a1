"""Measures how soon others continue after one process is killed: ``make recovery``."""
