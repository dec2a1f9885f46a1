"""The benchmark: RTM side by side with alternatives, on real servers.

``plans`` fixes rounds and samples; ``measures`` has a module per figure; ``contest`` plays the rounds; ``session`` runs
all figures and continues after an interruption; ``testbed``, ``inside`` and ``rivals`` are what is measured; ``report``
computes intervals and verdicts and writes the page.
"""
