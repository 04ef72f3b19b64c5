"""The visible half of every exercise, one module per notebook; a learner may read it."""
