"""The Docker gateway: a process of its own, the only one with access to Docker's socket.

It accepts the calls that the Docker adapter makes, and refuses all others. What reaches Docker is written here from
checked values; no part of a request is passed on as it came. It uses the port's types and payloads.
"""
