"""Finding and reading what a student handed in: a notebook, a folder or an archive, in whatever state it is.

Nothing here trusts a name, a size or a link; what cannot be read becomes a reason, never an exception that would stop a
class. Links and special files are not followed, and no archive is unpacked to disk.
"""

from __future__ import annotations

import json
import os
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from autograder.grading.assignment import Assignment, grade_id
from autograder.grading.limits import MIB

MAX_NOTEBOOK = 32 * MIB  # bytes of one file; stored figures take most of an honest one
MAX_ENTRIES = 2_000  # of an archive or a folder
SHOWN = 5  # of what was not read
MAX_RATIO = 200  # of an archive's entry, unpacked to packed
MAX_ARCHIVE = 512 * MIB  # bytes of an archive, and of all that is read out of it


class Unreadable(ValueError):
    """What was handed in cannot be read; the message says why, in words for the student."""


@dataclass
class Submission:
    """What one student handed in for one assignment.

    student: who, as the folder or the archive names them.
    cells:   of the notebook that answers the assignment; empty if there is none.
    problem: why there is none, in words; empty if there is one.
    notes:   what was noticed on the way.
    data:    the notebook as it was handed in.
    """

    student: str
    cells: list[Any] = field(default_factory=list)
    problem: str = ""
    notes: list[str] = field(default_factory=list)
    data: bytes = b""


def read_notebook(data: bytes) -> list[Any]:
    """The cells of a notebook of any nbformat, without trusting any of them.

    Raises Unreadable.
    """
    if not data.strip():
        raise Unreadable("the file is empty")
    if len(data) > MAX_NOTEBOOK:
        raise Unreadable(f"the file has {len(data) // MIB} MiB; {MAX_NOTEBOOK // MIB} are read")
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        document = json.loads(data.decode(encoding))
    except UnicodeDecodeError:
        raise Unreadable("the file is not text in UTF-8, so it is no notebook") from None
    except json.JSONDecodeError as error:
        cut = " (it ends in the middle: was the upload cut off?)" if error.pos >= len(data.rstrip()) - 2 else ""
        raise Unreadable(f"the file is not a notebook: {error.msg} in line {error.lineno}{cut}") from None
    except (RecursionError, ValueError):
        raise Unreadable(
            "the file is not a notebook: it is nested too deep, or holds numbers too long to read"
        ) from None
    if not isinstance(document, dict):
        raise Unreadable("the file is JSON, but no notebook")
    cells = document.get("cells")
    if cells is None and isinstance(document.get("worksheets"), list):  # nbformat 3
        sheets = [sheet for sheet in document["worksheets"] if isinstance(sheet, dict)]
        cells = [_modern(cell) for sheet in sheets for cell in sheet.get("cells") or [] if isinstance(cell, dict)]
    if not isinstance(cells, list):
        raise Unreadable("the file is JSON, but no notebook: it has no cells")
    return cells


def _modern(cell: dict) -> dict:
    """A cell of nbformat 3 with the names of nbformat 4."""
    return cell | {"source": cell.get("source", cell.get("input", ""))}


def from_files(student: str, files: Iterator[tuple[str, bytes | str]], assignment: Assignment) -> Submission:
    """Choose the notebook that answers an assignment among named contents; a `str` is why one could not be read.

    By its name, else by the graded cells in it: `p1 (1).ipynb` is as good as `p1.ipynb`.
    """
    made = Submission(student)
    reasons, found = [], []
    for name, data in files:
        if isinstance(data, str):
            reasons.append(f"{name}: {data}")
            continue
        try:
            cells = read_notebook(data)
        except Unreadable as error:
            reasons.append(f"{name}: {error}")
            continue
        found.append((_fits(name, cells, assignment), name, cells, data))
    found.sort(key=lambda one: (-one[0][0], -one[0][1], one[1]))
    if found and found[0][0] > (0, 0):
        _, name, made.cells, made.data = found[0]
        if PurePosixPath(name).name != f"{assignment.slug}.ipynb":
            made.notes.append(f"read from {name}")
        others = [other for fit, other, *_ in found[1:] if fit > (0, 0)]
        if others:
            made.notes.append(f"other notebooks of this assignment were not read: {', '.join(others[:5])}")
    reasons += [f"{name}: a notebook of something else" for fit, name, *_ in found if fit == (0, 0)]
    if not made.cells:
        made.problem = "; ".join(reasons[:SHOWN]) or "nothing was handed in"
        return made
    made.notes += reasons[:SHOWN]
    if len(reasons) > SHOWN:
        made.notes.append(f"and {len(reasons) - SHOWN} more files that were not read")
    return made


def _fits(name: str, cells: list[Any], assignment: Assignment) -> tuple[int, int]:
    """How well a notebook fits an assignment: graded cells that it has, then the name."""
    wanted = {grade_id(cell) for cell in assignment.notebook.cells} - {""}
    have = set()
    for cell in cells:
        if isinstance(cell, dict):
            have |= {grade_id(cell), str(cell.get("id", ""))}
    named = unicodedata.normalize("NFKC", PurePosixPath(name).name).casefold().startswith(assignment.slug.casefold())
    return len(wanted & have), int(named)


def files_of_folder(folder: Path) -> Iterator[tuple[str, bytes | str]]:
    """The notebooks of a folder, and those in archives in it; links and special files are refused."""
    count = 0
    for place, folders, names in os.walk(folder, followlinks=False):
        folders[:] = sorted(one for one in folders if not one.startswith(".") and one != "__MACOSX")
        for name in sorted(names):
            count += 1
            path = Path(place, name)
            shown = str(path.relative_to(folder)).encode("utf-8", "replace").decode()
            if count > MAX_ENTRIES:
                yield shown, f"more than {MAX_ENTRIES} files"
                return
            if name.startswith("."):
                continue
            if path.suffix.lower() not in (".ipynb", ".zip"):
                yield shown, "not a notebook"
                continue
            data = read_file(path)
            if isinstance(data, bytes) and path.suffix.lower() == ".zip":
                yield from ((f"{shown}/{inner}", content) for inner, content in files_of_archive(path))
            else:
                yield shown, data


def read_file(path: Path) -> bytes | str:
    """The bytes of an ordinary file of bounded size, or why it is not read; never follows a link, never waits."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return "a link, which is not followed" if path.is_symlink() else f"it cannot be opened ({error.strerror})"
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            return "not an ordinary file"
        most = MAX_ARCHIVE if path.suffix.lower() == ".zip" else MAX_NOTEBOOK
        if status.st_size > most:
            return f"it has {status.st_size // MIB} MiB; {most // MIB} are read"
        return file.read(most) if path.suffix.lower() != ".zip" else b""


def files_of_archive(path: Path) -> Iterator[tuple[str, bytes | str]]:
    """The notebooks in a zip file, in memory, within limits on number, size and ratio."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if len(entries) > MAX_ENTRIES:
                yield path.name, f"the archive has {len(entries)} entries; {MAX_ENTRIES} are read"
                return
            total = 0
            for entry in entries:
                name = _readable_name(entry)
                inside = PurePosixPath(name)
                hidden = any(part.startswith(".") and part not in (".", "..") for part in inside.parts)
                if entry.is_dir() or inside.suffix.lower() != ".ipynb" or hidden or "__MACOSX" in inside.parts:
                    continue
                content = _entry(archive, entry)
                total += len(content) if isinstance(content, bytes) else 0
                if total > MAX_ARCHIVE:
                    yield name, f"the archive holds more than {MAX_ARCHIVE // MIB} MiB"
                    return
                yield name, content
    except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError, EOFError) as error:
        yield path.name, f"not a zip archive that can be read ({error})"


def _entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes | str:
    mode = entry.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "a link or a special file, which is not followed"
    if entry.flag_bits & 1:
        return "it is encrypted"
    if entry.file_size > MAX_NOTEBOOK or entry.file_size > MAX_RATIO * max(entry.compress_size, 1024):
        return f"unpacked it would have {entry.file_size} bytes"
    try:
        with archive.open(entry) as file:
            data = file.read(MAX_NOTEBOOK + 1)  # what the entry says of its size need not be true
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, ValueError, EOFError, zlib.error) as error:
        return f"it cannot be unpacked ({error})"
    return data if len(data) <= MAX_NOTEBOOK else f"unpacked it has more than {MAX_NOTEBOOK // MIB} MiB"


def _readable_name(entry: zipfile.ZipInfo) -> str:
    """The entry's name; one that is not marked as UTF-8 often is, where a Mac or a Linux machine made the archive."""
    if not entry.flag_bits & 0x800:
        try:
            return entry.filename.encode("cp437").decode("utf-8")
        except (UnicodeEncodeError, UnicodeDecodeError):
            pass
    return entry.filename
