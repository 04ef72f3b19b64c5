"""Eighteen sentences with a Portuguese translation and, word by word, which word translates which.

The English was written for this course. The Portuguese is what the translation model of `translation.py` says, kept
here as text where a reader of both languages found it right, so that the links hold whatever a later model would say.
The links were made by hand and before any attention was looked at. They are *sure* links of content words, in the sense
of Och and Ney 2003: articles, prepositions and possessives, on which people differ, have none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from autograder.material.translation import Translation

Tensor = torch.Tensor

# English, Portuguese, and links "portuguese=english". Within a sentence every linked word occurs once.
_TABLE = (
    (
        "She dropped the pan because it was hot.",
        "Ela deixou cair a panela porque estava quente.",
        "Ela=She deixou=dropped cair=dropped panela=pan porque=because estava=was quente=hot",
    ),
    ("The old man reads a long letter.", "O velho lê uma longa carta.", "lê=reads longa=long carta=letter"),
    (
        "The white cat sleeps under the kitchen table.",
        "O gato branco dorme sob a mesa da cozinha.",
        "gato=cat branco=white dorme=sleeps sob=under mesa=table cozinha=kitchen",
    ),
    (
        "My sister bought three green apples yesterday.",
        "Minha irmã comprou três maçãs verdes ontem.",
        "irmã=sister comprou=bought três=three maçãs=apples verdes=green ontem=yesterday",
    ),
    (
        "The doctor gave the child a bitter medicine.",
        "O médico deu à criança um remédio amargo.",
        "médico=doctor deu=gave criança=child remédio=medicine amargo=bitter",
    ),
    (
        "We saw a black horse near the river.",
        "Vimos um cavalo preto perto do rio.",
        "Vimos=saw cavalo=horse preto=black perto=near rio=river",
    ),
    (
        "Her brother drinks cold water every morning.",
        "Seu irmão bebe água fria todas as manhãs.",
        "irmão=brother bebe=drinks água=water fria=cold todas=every manhãs=morning",
    ),
    (
        "The small boat crossed the calm lake at night.",
        "O pequeno barco atravessou o lago calmo à noite.",
        "pequeno=small barco=boat atravessou=crossed lago=lake calmo=calm noite=night",
    ),
    (
        "They found an empty house behind the church.",
        "Encontraram uma casa vazia atrás da igreja.",
        "Encontraram=found casa=house vazia=empty atrás=behind igreja=church",
    ),
    (
        "The baker sells fresh bread and sweet cakes.",
        "O padeiro vende pão fresco e bolos doces.",
        "padeiro=baker vende=sells pão=bread fresco=fresh bolos=cakes doces=sweet",
    ),
    (
        "A young woman opened the heavy door slowly.",
        "Uma jovem abriu a porta pesada lentamente.",
        "abriu=opened porta=door pesada=heavy lentamente=slowly",
    ),
    (
        "Our neighbours painted the wooden fence blue.",
        "Nossos vizinhos pintaram a cerca de madeira azul.",
        "vizinhos=neighbours pintaram=painted cerca=fence madeira=wooden azul=blue",
    ),
    (
        "The children are playing with a red ball in the garden.",
        "As crianças estão brincando com uma bola vermelha no jardim.",
        "crianças=children brincando=playing bola=ball vermelha=red jardim=garden",
    ),
    (
        "Yesterday the king lost his golden ring.",
        "Ontem o rei perdeu o anel dourado.",
        "Ontem=Yesterday rei=king perdeu=lost anel=ring dourado=golden",
    ),
    (
        "The soup is too salty for my grandmother.",
        "A sopa é muito salgada para a minha avó.",
        "sopa=soup muito=too salgada=salty avó=grandmother",
    ),
    (
        "He cut the cheese with a sharp knife.",
        "Ele cortou o queijo com uma faca afiada.",
        "Ele=He cortou=cut queijo=cheese faca=knife afiada=sharp",
    ),
    (
        "The white horse drank clean water.",
        "O cavalo branco bebeu água limpa.",
        "cavalo=horse branco=white bebeu=drank água=water limpa=clean",
    ),
    (
        "I forgot my black umbrella in the car.",
        "Esqueci meu guarda-chuva preto no carro.",
        "Esqueci=forgot guarda-chuva=umbrella preto=black carro=car",
    ),
)


@dataclass(frozen=True)
class Aligned:
    """A sentence, its translation, and pairs (t, s): target word t translates source word s."""

    source: str
    target: str
    links: frozenset[tuple[int, int]]

    @property
    def crossing(self) -> frozenset[tuple[int, int]]:
        """The links that cross another one: where the order of the two languages differs."""
        return frozenset(
            (t, s) for t, s in self.links if any((t - other) * (s - word) < 0 for other, word in self.links)
        )


def sentences() -> tuple[Aligned, ...]:
    """Return the sentences with links between word numbers, counted from 0."""
    return tuple(_aligned(*row) for row in _TABLE)


def words_of(text: str) -> list[str]:
    """Return the words of a sentence without the full stop at its end."""
    return text.rstrip(".").split()


def _aligned(source: str, target: str, links: str) -> Aligned:
    english, portuguese = words_of(source), words_of(target)
    pairs = (link.split("=") for link in links.split())
    return Aligned(source, target, frozenset((portuguese.index(a), english.index(b)) for a, b in pairs))


def by_words(translation: Translation) -> Tensor:
    """Return a translation's cross-attention between words, (layers, H, target words, source words).

    A word of several pieces asks with the mean of its pieces' rows, and is read with the sum of their columns. The full
    stop and the end of the sentence have neither row nor column, so rows sum to less than 1.
    """
    rows, columns = (_groups(side) for side in (translation.target, translation.source))
    asked = torch.stack([translation.weights[:, :, group].mean(dim=2) for group in rows], dim=2)
    return torch.stack([asked[..., group].sum(dim=-1) for group in columns], dim=-1)


def _groups(pieces: Sequence[str]) -> list[list[int]]:
    """The numbers of the pieces of each word, without "</s>" and the full stop."""
    groups: list[list[int]] = []
    for i, piece in enumerate(pieces):
        if piece in ("</s>", "."):
            continue
        if piece.startswith("▁") or not groups:
            groups.append([])
        groups[-1].append(i)
    return groups


def shares(
    sentences: Sequence[Aligned],
    tables: Sequence[Tensor],
    *,
    later: int = 0,
    kind: Literal["links", "crossing"] = "links",
) -> Tensor:
    """Return for each head the share of links whose source word has the most weight, (layers, H).

    tables: for each sentence the weights between words, as `by_words` gives them.
    later:  in which row to look: 0 is the one in which the linked word is written, 1 the one after it. A link whose row
            is beyond the sentence does not count.
    kind:   which links count.
    """
    hits = []
    for sentence, table in zip(sentences, tables, strict=True):
        most = table.argmax(dim=-1)  # (layers, H, target words)
        hits += [most[:, :, t + later] == s for t, s in getattr(sentence, kind) if t + later < most.shape[2]]
    return torch.stack(hits).double().mean(dim=0)


def diagonal_share(sentences: Sequence[Aligned], kind: Literal["links", "crossing"] = "links") -> float:
    """Return the share of links that a diagonal stretched to both lengths hits: what position alone explains."""
    hits = []
    for sentence in sentences:
        rows, columns = (len(words_of(text)) - 1 for text in (sentence.target, sentence.source))
        hits += [round(t * columns / rows) == s for t, s in getattr(sentence, kind)]
    return sum(hits) / len(hits)
