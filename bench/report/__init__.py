"""What becomes of samples: intervals and verdicts, the log of all runs, the page and its plots."""
