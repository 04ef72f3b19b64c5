"""The binary model file of the Marian translation toolkit, read into plain tensors under their own names.

The layout, all numbers little-endian: u64 version (1) · u64 n · n headers of four u64 (bytes of the name, type, number
of axes, bytes of the data) · n names, each ended by a zero byte · n shapes of i32 · u64 padding, that many bytes ·
n data. Type 0x0404 is float32; 0x4101 is int8 followed by a float32 multiplier: a value is the integer divided by it.
Integers of a product's right-hand side are stored transposed; those of the embedding table "Wemb" are not.
Source of the format: Marian, src/common/binary.cpp (Junczys-Dowmunt et al. 2018, arXiv 1804.00344), MIT licence.
"""

import math
import struct
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import torch
import yaml

FLOAT32, INT8 = 0x0404, 0x4101
CONFIG = "special:model.yml"
EMBEDDINGS = "Wemb"

# Scales that an integer engine multiplies its activations by; float arithmetic has no use for them.
ACTIVATION_SCALE = "QuantMultA"


class BadModelFile(ValueError):
    """A file is not a whole Marian model; the message names the file and the place."""


class Item(NamedTuple):
    """One entry of the file: its type code, its shape, and its bytes."""

    type: int
    shape: tuple[int, ...]
    data: memoryview


class _Reader:
    """A position in the file's bytes that refuses to run past their end."""

    def __init__(self, path: Path) -> None:
        self.path, self.at = path, 0
        self.bytes = memoryview(path.read_bytes())

    def take(self, size: int, what: str) -> memoryview:
        if size > len(self.bytes) - self.at:
            self.refuse(f"it ends within {what}: {size} bytes wanted at byte {self.at}, {len(self.bytes)} in all")
        self.at += size
        return self.bytes[self.at - size : self.at]

    def numbers(self, count: int, letter: str, what: str) -> tuple[int, ...]:
        # Sizes of a foreign file can be absurd, so the file's length is asked before struct is.
        taken = self.take(count * struct.calcsize(f"<{letter}"), what)
        return struct.unpack(f"<{count}{letter}", taken)

    def refuse(self, why: str) -> NoReturn:
        raise BadModelFile(f"reading {self.path} as a Marian model: {why}; get the file again from where it came")


def read_items(path: str | Path) -> dict[str, Item]:
    """Return the entries of a Marian model file, by name, as they are stored.

    Raises BadModelFile if the file is cut short or is something else.
    """
    reader = _Reader(Path(path))
    version, count = reader.numbers(2, "Q", "its first 16 bytes")
    if version != 1:
        reader.refuse(f"it starts with version {version}, and only 1 is known")
    fields = reader.numbers(4 * count, "Q", f"the headers of {count} entries")
    headers = [fields[4 * i : 4 * i + 4] for i in range(count)]
    names = [_name(reader, header[0]) for header in headers]
    shapes = [
        reader.numbers(header[2], "i", f"the shape of {name}") for name, header in zip(names, headers, strict=True)
    ]
    (padding,) = reader.numbers(1, "Q", "the length of the padding")
    reader.take(padding, "the padding")
    entries = zip(names, headers, shapes, strict=True)
    return {name: Item(header[1], shape, reader.take(header[3], name)) for name, header, shape in entries}


def read_model(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return a model's tensors by name, and the configuration stored with them.

    path: the model file.
    Returns float32 tensors, laid out so that a projection is `x @ tensor`; rows (1, C) come as (C,). The configuration
    has Marian's own keys ("transformer-heads", "enc-depth", …).
    Raises BadModelFile if the file is cut short, is something else, or holds a type that is not known here.
    """
    tensors, config = {}, None
    for name, item in read_items(path).items():
        if name == CONFIG:
            config = yaml.safe_load(bytes(item.data).split(b"\0")[0])
        elif ACTIVATION_SCALE not in name:
            try:
                tensors[name] = torch.from_numpy(_values(name, item))
            except BadModelFile as error:
                raise BadModelFile(f"reading {path} as a Marian model: {error}") from None
    if not isinstance(config, dict):
        raise BadModelFile(f"reading {path} as a Marian model: it has no entry {CONFIG}")
    return tensors, config


def _name(reader: _Reader, size: int) -> str:
    raw = bytes(reader.take(size, "the names"))
    if not raw.endswith(b"\0") or not raw.isascii():
        reader.refuse(f"the name {raw[:40]!r} is not ASCII text ended by a zero byte")
    return raw[:-1].decode("ascii")


def _values(name: str, item: Item) -> np.ndarray:
    """An entry as a float32 array of its own memory."""
    size = math.prod(item.shape)
    wanted = {FLOAT32: 4 * size, INT8: size + 4}.get(item.type)
    if wanted is None:
        raise BadModelFile(f"{name} has type {item.type:#06x}; known are float32 and int8 with a multiplier")
    if min(item.shape, default=0) < 1 or wanted > len(item.data):
        raise BadModelFile(f"{name} of shape {item.shape} wants {wanted} bytes and has {len(item.data)}")
    if item.type == FLOAT32:
        values = np.frombuffer(item.data, "<f4", size).astype(np.float32).reshape(item.shape)
    else:
        (multiplier,) = struct.unpack("<f", item.data[size : size + 4])
        if not (math.isfinite(multiplier) and multiplier > 0):
            raise BadModelFile(f"{name} has the multiplier {multiplier}")
        values = np.frombuffer(item.data, np.int8, size).astype(np.float32) / np.float32(multiplier)
        values = values.reshape(item.shape) if name == EMBEDDINGS else values.reshape(item.shape[::-1]).T
    return np.ascontiguousarray(values[0] if item.shape[0] == 1 else values)
