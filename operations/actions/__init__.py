"""What an operation does: the handlers of the kinds of operation.

Each handler reads as its list of steps. It can run again after a crash at any line: it observes first and continues
from what it finds.
"""
