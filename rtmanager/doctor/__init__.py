"""Whether this installation is as it should be, and what mends it.

``gathering`` asks everything there is to ask, ``facts`` is what it found, and the modules of verdicts judge it: they
are pure, one function per check.
"""
