"""Reads run folders, and nothing else: numbers with intervals, curves, sample rollouts beside their pictures."""
