"""Comparison of the records with Docker, and the repairs that follow from it.

``plan`` compares (pure), ``survey`` reads and requests repairs, ``retention`` requests cleanups.
"""
