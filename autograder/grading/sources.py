"""Who handed in what: submissions found in nbgrader's folders, in plain folders, and in what an LMS hands out."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from autograder.grading.assignment import Assignment
from autograder.grading.intake import Submission, files_of_archive, files_of_folder, from_files, read_file

# Moodle: `Ana Lima_4711_assignsubmission_file_/…`; Canvas: `limaana_LATE_4711_0815_notebook.ipynb`.
MOODLE = re.compile(r"^(?P<name>.+?)_(?P<number>\d+)_assignsubmission_file(_.*)?$")
CANVAS = re.compile(r"^(?P<name>[^_]+)_(LATE_)?(?P<number>\d+)_\d+_.+$")
SUFFIXES = (".ipynb", ".zip")


def student_of(name: str) -> str:
    """Who a folder or a file belongs to: the name without what an LMS adds, fit to name a folder, in any script."""
    stem = name[: -len(PurePosixPath(name).suffix)] if PurePosixPath(name).suffix.lower() in SUFFIXES else name
    match = MOODLE.match(stem) or CANVAS.match(name)
    text = f"{match['name']}_{match['number']}" if match else stem
    text = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode())
    text = re.sub(r"[^\w.@+ -]+", "-", text).strip(" .-")
    return text[:100] or "unnamed"


def collected(root: Path, assignment: Assignment) -> Iterator[Submission]:
    """What nbgrader collected: `course/submitted/STUDENT/ASSIGNMENT/`."""
    for folder in sorted((root / "course" / "submitted").glob("*")):
        place = folder / assignment.slug
        if place.is_dir() and not place.is_symlink():
            yield _of_folder(folder.name, place, assignment)


def given(path: Path, assignment: Assignment) -> Iterator[Submission]:
    """What a person points at: a notebook, one archive of a class, or a folder with one entry per student.

    In a folder an entry is a student's folder, notebook or archive; an archive whose entries lie in several folders, or
    are several notebooks, is of a class.
    """
    if path.is_file():
        if path.suffix.lower() == ".zip":
            yield from _of_class_archive(path, assignment)
        else:
            yield from_files(student_of(path.name), iter([(path.name, read_file(path))]), assignment)
        return
    merged: dict[str, list[Path]] = {}
    for entry in sorted(path.iterdir()):
        if entry.name.startswith(".") or entry.name == "__MACOSX":
            continue
        if entry.is_dir() or entry.suffix.lower() in SUFFIXES:
            merged.setdefault(student_of(entry.name), []).append(entry)
    for student, entries in merged.items():
        files = [file for entry in entries for file in _files(entry)]
        yield from_files(student, iter(files), assignment)


def _files(entry: Path) -> Iterator[tuple[str, bytes | str]]:
    if entry.is_symlink():
        yield entry.name, "a link, which is not followed"
    elif entry.is_dir():
        yield from files_of_folder(entry)
    elif entry.suffix.lower() == ".zip":
        yield from files_of_archive(entry)
    else:
        yield entry.name, read_file(entry)


def _of_folder(student: str, folder: Path, assignment: Assignment) -> Submission:
    return from_files(student, files_of_folder(folder), assignment)


def _of_class_archive(path: Path, assignment: Assignment) -> Iterator[Submission]:
    entries = list(files_of_archive(path))
    tops = {PurePosixPath(name).parts[0] for name, _ in entries}
    folders = {PurePosixPath(name).parts[0] for name, _ in entries if len(PurePosixPath(name).parts) > 1}
    if len(tops) <= 1 and not any(MOODLE.match(top) for top in folders):
        yield from_files(student_of(path.name), iter(entries), assignment)
        return
    by_student: dict[str, list[tuple[str, bytes | str]]] = {}
    for name, data in entries:
        by_student.setdefault(student_of(PurePosixPath(name).parts[0]), []).append((name, data))
    for student, files in sorted(by_student.items()):
        yield from_files(student, iter(files), assignment)
