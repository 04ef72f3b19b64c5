"""The instructor side: what nbgrader runs."""
