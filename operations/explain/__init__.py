"""Why a game is in its state, what to do, and what RTM will do next.

``collect`` reads the facts, ``rules`` decide (pure), ``text`` renders the result.
"""
