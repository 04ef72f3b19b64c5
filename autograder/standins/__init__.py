"""Library-backed stand-ins for what a learner has not written yet, one module per notebook."""
