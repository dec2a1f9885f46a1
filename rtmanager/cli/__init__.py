"""``rtm``, the command line of operators. It uses the REST API only: no Django, no database, no Docker.

``commands`` holds one module per group of commands. Only ``api`` uses HTTP; only ``errors`` defines exit codes.
"""
