"""The hidden half of every exercise: references, accepted and wrong answers, cases."""
