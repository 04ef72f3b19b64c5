"""The names of a cell: those it binds, and those it needs from the cells before it."""

from __future__ import annotations

import ast
import symtable
from collections.abc import Iterator


def parse(source: str) -> tuple[ast.Module, frozenset[str], frozenset[str]]:
    """Return the syntax tree of a cell, and its names as `names_of` gives them; raises SyntaxError."""
    tree = ast.parse(source)
    return tree, *names_of(tree, symtable.symtable(source, "cell", "exec"))


def names_of(tree: ast.Module, top: symtable.SymbolTable) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names that a cell binds at top level, and those it needs from elsewhere.

    tree, top: the syntax tree and the symbol table of the same source.
    """
    symbols = top.get_symbols()
    defines = {s.get_name() for s in symbols if s.is_assigned() or s.is_imported() or s.is_namespace()}
    uses = {s.get_name() for s in symbols if s.is_referenced()}
    for inner in _inner_tables(top):
        uses |= {s.get_name() for s in inner.get_symbols() if s.is_global() and s.is_referenced()}
        defines |= {s.get_name() for s in inner.get_symbols() if s.is_declared_global() and s.is_assigned()}
    needs = (uses - defines) | {name for name in defines if _read_first(name, tree.body)}
    return frozenset(defines), frozenset(needs)


def _inner_tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    for child in table.get_children():
        yield child
        yield from _inner_tables(child)


def _read_first(name: str, body: list[ast.stmt]) -> bool:
    """Whether top-level code reads a name before it binds it."""
    for statement in body:
        if isinstance(statement, (ast.FunctionDef, ast.ClassDef)):
            continue
        blocks = _blocks(statement)
        inside = {id(node) for block in blocks for top in block for node in ast.walk(top)}
        names = [node for node in ast.walk(statement) if isinstance(node, ast.Name) and node.id == name]
        head = [node for node in names if id(node) not in inside]  # what is evaluated before any block
        if head:
            return isinstance(statement, ast.AugAssign) or any(isinstance(node.ctx, ast.Load) for node in head)
        if any(_read_first(name, block) for block in blocks):
            return True
        if names:
            return False
    return False


def _blocks(statement: ast.stmt) -> list[list[ast.stmt]]:
    """The blocks of a compound statement."""
    return [getattr(statement, name) for name in ("body", "orelse", "finalbody") if getattr(statement, name, None)]
