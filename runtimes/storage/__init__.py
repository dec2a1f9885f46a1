"""The state directories of games: the state root and the directories below it.

All paths are opened without following symbolic links.
"""
