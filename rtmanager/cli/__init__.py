"""``rtm``, the command line of operators. Knows only the REST API: no Django, no database, no Docker.

One module per group of commands; only ``api`` knows HTTP, only ``failures`` knows exit codes.
"""
