"""What of a student's outputs may be shown on a page: text and pictures, never markup or script."""

from __future__ import annotations

import base64
import binascii

from nbformat.notebooknode import NotebookNode
from nbformat.v4 import new_output

PICTURES = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}
MAX_TEXT = 20_000  # characters of one output
MAX_PICTURE = 2_000_000  # characters of base64


def clean(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """The outputs of a cell with everything dropped that a page would take for more than text or a picture."""
    return [kept for output in outputs if (kept := _kept(output)) is not None]


def _kept(output: NotebookNode) -> NotebookNode | None:
    kind = output.get("output_type")
    if kind == "stream":
        name = "stderr" if output.get("name") == "stderr" else "stdout"
        return new_output("stream", name=name, text=_text(output.get("text")))
    if kind == "error":
        lines = [_text(line) for line in output.get("traceback", [])][:60]
        return new_output(
            "error", ename=_text(output.get("ename")), evalue=_text(output.get("evalue")), traceback=lines
        )
    data = output.get("data")
    if kind not in ("display_data", "execute_result") or not isinstance(data, dict):
        return None
    for mime, magic in PICTURES.items():
        picture = data.get(mime)
        if isinstance(picture, str) and len(picture) <= MAX_PICTURE and _is_picture(picture, magic):
            return new_output("display_data", data={mime: picture.strip()})
    return new_output("display_data", data={"text/plain": _text(data["text/plain"])}) if "text/plain" in data else None


def _is_picture(text: str, magic: bytes) -> bool:
    try:
        return base64.b64decode("".join(text.split()), validate=True).startswith(magic)
    except (binascii.Error, ValueError):
        return False


def _text(value: object) -> str:
    text = value if isinstance(value, str) else "".join(map(str, value)) if isinstance(value, (list, tuple)) else ""
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "\n[cut]"
