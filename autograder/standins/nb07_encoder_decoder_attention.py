"""Notebook 07's functions for those who have not written them yet."""

import torch


def attention_step(s_prev, enc, src_mask, w_s, w_h, w):
    """One step of additive attention, (context, weights); a sentence without words gets 0 in both."""
    scores = torch.einsum("bth,h->bt", torch.tanh((s_prev @ w_s).unsqueeze(1) + enc @ w_h), w)
    # A finite fill keeps an empty row out of 0 / 0; the multiplication then makes it 0.
    low = torch.finfo(scores.dtype).min
    weights = torch.softmax(scores.masked_fill(~src_mask, low), dim=-1) * src_mask
    return torch.einsum("bt,btd->bd", weights, enc), weights


def shift_right(target, bos):
    """The decoder's inputs: bos, then every target but the last."""
    return torch.nn.functional.pad(target, (1, 0), value=bos)[:, :-1]


def greedy_translate(step, state, bos, eos, max_len):
    """The most probable next token, again and again, until eos or max_len."""
    ids: list[int] = []
    token = bos
    while len(ids) < max_len:
        logits, state = step(token, state)
        token = int(torch.as_tensor(logits).argmax())
        if token == eos:
            break
        ids.append(token)
    return ids


def hard_alignment(weights):
    """For each target word the source word with the largest weight."""
    return torch.max(weights, dim=-1).indices


def alignment_error_rate(predicted, sure, possible):
    """Och and Ney's alignment error rate of a set of pairs."""
    total = len(predicted) + len(sure)
    found = len(predicted.intersection(sure)) + len(predicted.intersection(possible))
    return 1.0 - found / total if total else 0.0
