"""The course's secret: every graded run gets inputs of its own that nobody can foresee and a regrade repeats."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

NAME = "secret"


def course_secret(course: Path) -> bytes:
    """Read the secret of a course, or make it on first use: 32 random bytes that only their owner may read.

    course: the folder that git ignores.
    Raises PermissionError if others may read it, ValueError if it is not as it was made.
    """
    path = course / NAME
    course.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        pass
    else:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(32).hex().encode())
    if path.stat().st_mode & 0o077:
        raise PermissionError(f"{path} may be read by others than its owner; chmod 600 {path}")
    try:
        secret = bytes.fromhex(path.read_text(encoding="ascii"))
    except ValueError:
        secret = b""
    if len(secret) != 32:
        raise ValueError(f"{path} does not hold a secret; remove it for a new one (then every regrade has new inputs)")
    return secret


def seed_of(secret: bytes, student: str, slug: str, answers: bytes) -> int:
    """The seed of one graded run: the same for the same work of the same student, and no other.

    answers: what was handed in, as far as it is judged. With it in the seed, inputs that feedback might have given away
    are of no use for the next submission.
    """
    parts = [student.encode("utf-8", "surrogatepass"), slug.encode(), hashlib.sha256(answers).digest()]
    message = b"".join(len(part).to_bytes(8, "big") + part for part in parts)
    return int.from_bytes(hmac.new(secret, message, hashlib.sha256).digest()[:8], "big") >> 1
