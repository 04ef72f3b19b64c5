"""The running example of the course: one sentence and hand-made word vectors small enough to read.

*It* stands for the pan, and *hot* means temperature because of the pan (a hot curry is another matter): two things
that no word tells by itself, and that a weighted average over the other words can.
"""

import numpy as np

WORDS = ("she", "dropped", "the", "pan", "because", "it", "was", "hot")

# What the four numbers of a word stand for. They are made by hand; a trained model would find its own.
FEATURES = ("person", "thing", "action", "heat")

_TABLE = {
    "she": (2.0, 0.0, 0.0, 0.0),
    "dropped": (0.5, 0.5, 2.0, 0.0),
    "the": (0.0, 0.5, 0.0, 0.0),
    "pan": (0.0, 2.0, 0.0, 1.0),
    "because": (0.0, 0.0, 0.5, 0.0),
    "it": (0.0, 1.5, 0.0, 0.0),
    "was": (0.0, 0.0, 1.0, 0.0),
    "hot": (0.0, 0.5, 0.0, 2.0),
}


def embeddings(words=WORDS):
    """Return the vectors of some words of the sentence, (len(words), 4) float64; KeyError names an unknown word."""
    return np.array([_TABLE[word] for word in words])
