"""Reports about containers that exited: exit code, last log lines, configuration.

``capture`` decides when to take a report, ``contents`` what it contains, ``redaction`` removes secrets.
"""
