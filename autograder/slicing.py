"""Slicing a notebook: from the cells that ran, the source of a plain module that defines one name.

Statements are looked up by time. A name that is read while a statement runs is the latest binding before that
statement; a name that is read when a function is called is the latest binding of all. So `old = f` followed by a new
`def f(): return old()` keeps both. What changes a needed value in place (`TABLE.append(1)`) comes along with it.
It is longer than most modules here since Python has many ways to bind a name.
"""

from __future__ import annotations

import ast
import builtins
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

PACKAGE = "my_attention"

# Calls that are made to look at something: as statements of their own they never come along.
SPECTATORS = {"check", "hint", "reflect", "progress", "display", "print", "plt", "plots", "pyplot", "get_ipython"}
# Methods that, called as a statement, only show what they return; any other is called for its effect.
READERS = set(
    "mean sum std var min max argmax argmin round item tolist copy keys values items get index count head tail "
    "describe size numpy detach clone cpu astype reshape transpose all any dot numel dim parameters named_parameters "
    "state_dict split strip join lower upper startswith endswith format plot show hist savefig".split()
)
# Functions that change what they are given, beside those whose name ends in an underscore.
CHANGERS = set(
    "fill_diagonal shuffle copyto place put putmask heappush heappop heapify insort insort_left insort_right "
    "setattr delattr next".split()
)
_RUNS = (ast.Call, ast.BinOp, ast.Compare, ast.Subscript, ast.UnaryOp, ast.For, ast.While, ast.With, ast.comprehension)
_GIVEN_BY_IPYTHON = {"display": "IPython.display"}
_PYTHON_MAGICS = ("time", "capture")  # cell magics that run their cell where it stands
_FROM_MINE = re.compile(r"^([ \t]+)from autograder(?:\.mine)? import mine(?: as (\w+))?(?=[ \t]*(?:#.*)?$)", re.M)


@dataclass(frozen=True)
class Import:
    """One imported name: `import module as asname`, or with a name `from module import name as asname`."""

    module: str
    name: str = ""
    asname: str = ""

    @property
    def binds(self) -> str:
        """The name it binds."""
        return self.asname or self.name or self.module.partition(".")[0]

    @property
    def part(self) -> str:
        """What stands after `import`."""
        return (self.name or self.module) + (f" as {self.asname}" if self.asname else "")

    def __str__(self) -> str:
        return f"from {self.module} import {self.part}" if self.name else f"import {self.part}"


@dataclass
class Statement:
    """One top-level statement that ran, and what it does with names.

    binds, sure: the names it may bind, and those it binds whichever way its branches go.
    now, later:  the names it reads while it runs, and those read when what it defines is called.
    changes, later_changes: the same for values changed in place.
    runs:        whether it does more than give names to values.
    decorators, procedures: names of functions that it calls for their effect.
    """

    source: str
    binds: set[str]
    sure: set[str]
    now: set[str] = field(default_factory=set)
    later: set[str] = field(default_factory=set)
    changes: set[str] = field(default_factory=set)
    later_changes: set[str] = field(default_factory=set)
    runs: bool = False
    decorators: set[str] = field(default_factory=set)
    procedures: set[str] = field(default_factory=set)
    is_procedure: bool = False
    is_definition: bool = False
    imports: Import | None = None


def slice_source(cells: Iterable[str], name: str) -> str:
    """Return the source of a plain module that defines `name` with everything it depends on.

    cells: the cells that ran, in order, as typed or as IPython transformed them.
    Raises LookupError if no cell binds the name.
    """
    statements = [statement for cell in cells for statement in _statements(cell)]
    if not any(name in statement.binds for statement in statements):
        raise LookupError(f"no cell defines {name}")
    return _module(_Slice(statements).of(name))


def ran_before(cell: str, line: int, through: bool = False) -> str:
    """The part of a cell that ran when its line `line` was reached.

    through: whether the statement on that line counts as run.
    """
    text, nodes = _parse(cell)
    kept = [node for node in nodes if _first_line(node) <= line and (through or (node.end_lineno or 0) < line)]
    return "\n".join(text.split("\n")[: kept[-1].end_lineno]) + "\n" if kept else ""


def uses(source: str) -> set[str]:
    """The names that a saved module takes from `my_attention`."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return set()
    aliases, found = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases |= {item.asname or item.name for item in node.names if item.name == PACKAGE}
            found |= {item.name.split(".")[1] for item in node.names if item.name.startswith(f"{PACKAGE}.")}
        elif isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
            found |= {item.name for item in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{PACKAGE}."):
            found.add((node.module or "").split(".")[1])
        elif isinstance(node, ast.ImportFrom) and node.module in ("autograder", "autograder.mine"):
            aliases |= {item.asname or item.name for item in node.names if item.name == "mine"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases:
            found.add(node.attr)
    return found


# --- reading cells ---------------------------------------------------------------------------------------------------


def _parse(cell: str) -> tuple[str, list[ast.stmt]]:
    """A cell as plain Python: text and top-level statements; none if it is not Python."""
    from IPython.core.inputtransformer2 import TransformerManager

    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            text = TransformerManager().transform_cell(cell.replace("\r\n", "\n"))
            tree: ast.Module = compile(text, "<cell>", "exec", flags, dont_inherit=True)
            return text, tree.body
    except (SyntaxError, ValueError, RecursionError):
        return "", []


def _statements(cell: str) -> Iterator[Statement]:
    text, nodes = _parse(cell)
    lines = text.split("\n")
    for number, node in enumerate(nodes):
        inner = _run_by_magic(node)
        if inner is not None:
            yield from _statements(inner)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from _imports(node)
        else:
            alone = all(
                other.end_lineno != node.lineno and other.lineno != node.end_lineno
                for other in nodes[max(number - 1, 0) : number + 2]
                if other is not node
            )
            yield _statement(node, _text_of(node, lines, alone, text))


def _run_by_magic(node: ast.stmt) -> str | None:
    """The Python that a magic such as `%%time` ran in the notebook's own namespace."""
    if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _root(node.value) == "get_ipython"):
        return None
    given = [item.value for item in node.value.args if isinstance(item, ast.Constant)]
    if not given or given[0] not in _PYTHON_MAGICS:
        return None
    return str(given[-1])


def _imports(node: ast.Import | ast.ImportFrom) -> Iterator[Statement]:
    for item in node.names:
        if isinstance(node, ast.Import):
            found = Import(item.name, "", item.asname or "")
        elif node.module in ("autograder", "autograder.mine") and item.name == "mine":
            found = Import(PACKAGE, "", item.asname or "mine")
        else:
            found = Import("." * node.level + (node.module or ""), item.name, item.asname or "")
        binds = {found.binds} - {"*"}
        yield Statement(str(found), binds, binds, imports=found)


def _statement(node: ast.stmt, source: str) -> Statement:
    names = _Names()
    names.visit(node)
    statement = Statement(source, names.scopes[0].bound, _surely_bound([node]), runs=names.runs)
    for kind, name, late in names.globals():
        if kind == "read":
            (statement.later if late else statement.now).add(name)
        else:
            (statement.later_changes if late else statement.changes).add(name)
    statement.procedures = names.procedures
    statement.is_definition = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        statement.decorators = {root for item in node.decorator_list if (root := _root(item))}
        statement.changes |= {root for item in node.decorator_list if (root := _root(item)) and _is_method(item)}
    if isinstance(node, ast.FunctionDef):
        statement.is_procedure = not any(
            isinstance(part, (ast.Yield, ast.YieldFrom)) or (isinstance(part, ast.Return) and part.value is not None)
            for part in ast.walk(node)
        )
    return statement


def _is_method(decorator: ast.expr) -> bool:
    return isinstance(decorator.func if isinstance(decorator, ast.Call) else decorator, ast.Attribute)


def _first_line(node: ast.stmt) -> int:
    return min([node.lineno, *(item.lineno for item in getattr(node, "decorator_list", ()))])


def _text_of(node: ast.stmt, lines: list[str], alone: bool, text: str) -> str:
    """The source of a statement, with the comments directly above it and without the calls that only look."""
    if not alone:
        return ast.get_source_segment(text, node) or ""
    start, end = _first_line(node), node.end_lineno or node.lineno
    kept: list[str | None] = list(lines[start - 1 : end])
    for block in _blocks(node):
        looking = [item for item in block if _only_looks(item)]
        for item in looking:
            first, last = item.lineno - start, (item.end_lineno or item.lineno) - start
            indent = str(lines[item.lineno - 1])[: item.col_offset]
            if indent.strip():  # it shares a line with `if …:` or another statement
                continue
            kept[first : last + 1] = [None] * (last + 1 - first)
            if item is block[0] and len(looking) == len(block):
                kept[first] = f"{indent}pass"
    above = start - 1
    while above and lines[above - 1].startswith("#") and not lines[above - 1].startswith(("# %%", "###", "#:")):
        above -= 1
    body = "\n".join([*lines[above : start - 1], *(line for line in kept if line is not None)])
    return _FROM_MINE.sub(lambda found: f"{found[1]}import {PACKAGE} as {found[2] or 'mine'}", body)


def _blocks(node: ast.AST) -> Iterator[list[ast.stmt]]:
    """The blocks inside a compound statement, but not those inside functions and classes."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return
    for _, value in ast.iter_fields(node):
        if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
            yield value
        for item in value if isinstance(value, list) else ():
            if isinstance(item, (ast.stmt, ast.ExceptHandler, ast.match_case)):
                yield from _blocks(item)


def _only_looks(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _root(node.value) in SPECTATORS


def _root(node: ast.AST) -> str | None:
    """The name that an expression such as `a.b[0].c()` starts from."""
    while isinstance(node, (ast.Attribute, ast.Subscript, ast.Call, ast.Starred, ast.Await)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None


def _surely_bound(block: list[ast.stmt]) -> set[str]:
    """The names that a block binds whichever way its branches go."""
    found: set[str] = set()
    for node in block:
        if isinstance(node, ast.If):
            found |= _surely_bound(node.body) & _surely_bound(node.orelse)
        elif isinstance(node, ast.Try):
            ways = [_surely_bound(node.body + node.orelse), *(_surely_bound(item.body) for item in node.handlers)]
            found |= set.intersection(*ways) | _surely_bound(node.finalbody)
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            found |= _surely_bound(node.body)
        elif not isinstance(node, (ast.For, ast.AsyncFor, ast.While, ast.Match)):
            names = _Names()
            names.visit(node)
            found |= names.scopes[0].bound
    return found


@dataclass
class _Scope:
    kind: str  # module, class, function or comprehension
    bound: set[str] = field(default_factory=set)
    elsewhere: set[str] = field(default_factory=set)  # declared nonlocal
    declared: set[str] = field(default_factory=set)  # declared global


class _Names(ast.NodeVisitor):
    """What one top-level statement does with names, in the order in which it does it."""

    def __init__(self) -> None:
        self.scopes = [_Scope("module")]
        self.events: list[tuple[str, str, list[_Scope], bool, bool]] = []
        self.procedures: set[str] = set()
        self.runs = False

    def globals(self) -> Iterator[tuple[str, str, bool]]:
        """Each event on a name that belongs to the notebook: (read or change, name, whether only on a call)."""
        for kind, name, scopes, in_class, in_module in self.events:
            late = any(scope.kind == "function" for scope in scopes)
            for scope in reversed(scopes):
                if scope.kind == "module" or name in scope.declared:
                    if late or not in_module:
                        yield kind, name, late
                    break
                if scope.kind == "class":
                    if scope is scopes[-1] and in_class:
                        break
                elif name in scope.bound:
                    break

    def visit(self, node: ast.AST) -> None:
        if isinstance(node, _RUNS) and not self._late():
            self.runs = True
        super().visit(node)

    def _late(self) -> bool:
        return any(scope.kind == "function" for scope in self.scopes)

    def _event(self, kind: str, name: str) -> None:
        inner = self.scopes[-1]
        in_class = inner.kind == "class" and name in inner.bound
        self.events.append((kind, name, list(self.scopes), in_class, name in self.scopes[0].bound))

    def _bind(self, name: str, scope: _Scope | None = None) -> None:
        scope = scope or self.scopes[-1]
        if name in scope.declared:
            self._event("change", name)
        elif name not in scope.elsewhere:
            scope.bound.add(name)

    def _change(self, target: ast.AST) -> None:
        root = _root(target)
        if root:
            self._event("change", root)

    def _all(self, nodes: Iterable[ast.AST | None]) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Load):
            self._event("read", node.id)
        elif isinstance(node.ctx, ast.Store):
            self._bind(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if not isinstance(node.ctx, ast.Load):
            self._change(node)
        self.visit(node.value)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if not isinstance(node.ctx, ast.Load):
            self._change(node)
        self._all([node.value, node.slice])

    def visit_Assign(self, node: ast.Assign) -> None:
        self._all([node.value, *node.targets])

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._all([node.value])
        if isinstance(node.target, ast.Name):
            self._event("read", node.target.id)
            self._event("change", node.target.id)
            if self._late():
                self._bind(node.target.id)
        else:
            self.visit(node.target)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._all([node.annotation, node.value])
        if node.value is not None or not isinstance(node.target, ast.Name):
            self.visit(node.target)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self._bind(node.target.id, next(s for s in reversed(self.scopes) if s.kind != "comprehension"))

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self._all([node.iter, node.target, *node.body, *node.orelse])

    visit_AsyncFor = visit_For

    def visit_If(self, node: ast.If) -> None:
        self._all([node.test])
        before = set(self.scopes[-1].bound)
        self._all(node.body)
        after, self.scopes[-1].bound = self.scopes[-1].bound, before
        self._all(node.orelse)
        self.scopes[-1].bound |= after

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self._all([node.type])
        if node.name:
            self._bind(node.name)
        self._all(node.body)

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        for item in node.names:
            self._bind(item.asname or item.name.partition(".")[0])

    visit_ImportFrom = visit_Import

    def visit_MatchAs(self, node: ast.MatchAs | ast.MatchStar) -> None:
        self._all([getattr(node, "pattern", None)])
        if node.name:
            self._bind(node.name)

    visit_MatchStar = visit_MatchAs

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self.generic_visit(node)
        if node.rest:
            self._bind(node.rest)

    def visit_Global(self, node: ast.Global) -> None:
        self.scopes[-1].declared |= set(node.names)

    def visit_Nonlocal(self, node: ast.Nonlocal) -> None:
        self.scopes[-1].elsewhere |= set(node.names)

    def visit_Expr(self, node: ast.Expr) -> None:
        if _only_looks(node) and not self._late():
            return
        call = node.value.value if isinstance(node.value, ast.Await) else node.value
        if isinstance(call, ast.Call):
            if isinstance(call.func, ast.Name):
                called = call.func.id
                if not self._late():
                    self.procedures.add(called)
            else:
                called = getattr(call.func, "attr", "")
                if called not in READERS:
                    self._change(call.func)
            if called in CHANGERS or (called.endswith("_") and not called.endswith("__")):
                for given in call.args:
                    self._change(given)
        self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        if node.decorator_list and not self._late():
            self.runs = True
        args = node.args
        every = [*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg]
        self._all([*node.decorator_list, *args.defaults, *args.kw_defaults])
        self._all([*(item.annotation for item in every if item), node.returns])
        self._bind(node.name)
        self._function(every, node.body)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Lambda(self, node: ast.Lambda) -> None:
        args = node.args
        self._all([*args.defaults, *args.kw_defaults])
        self._function([*args.posonlyargs, *args.args, *args.kwonlyargs, args.vararg, args.kwarg], [node.body])

    def _function(self, arguments: Iterable[ast.arg | None], body: Iterable[ast.AST]) -> None:
        self.scopes.append(_Scope("function", {item.arg for item in arguments if item}))
        self._all(body)
        self.scopes.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        if (node.decorator_list or node.bases or node.keywords) and not self._late():
            self.runs = True
        self._all([*node.decorator_list, *node.bases, *(item.value for item in node.keywords)])
        self.scopes.append(_Scope("class"))
        self._all(node.body)
        self.scopes.pop()
        self._bind(node.name)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        self.visit(node.generators[0].iter)
        self.scopes.append(_Scope("comprehension"))
        for number, part in enumerate(node.generators):
            self._all([part.iter if number else None, part.target, *part.ifs])
        self._all([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt])
        self.scopes.pop()

    visit_ListComp = visit_SetComp = visit_GeneratorExp = visit_DictComp = _comprehension


# --- choosing and writing --------------------------------------------------------------------------------------------


class _Slice:
    """The statements that a name depends on."""

    def __init__(self, statements: list[Statement]) -> None:
        self.all = statements
        self.taken: set[int] = set()
        self.given: set[str] = set()
        self.seen: set[tuple] = set()
        self.work: list[tuple[str, int, bool]] = []
        for place, statement in enumerate(statements):
            for name in statement.decorators | statement.procedures:
                for source in (self.all[found] for found in self.bindings(name, place)):
                    if name in statement.decorators or source.is_procedure:
                        statement.changes |= source.later_changes

    def of(self, name: str) -> list[Statement]:
        """Every statement that `name` needs, in the order in which they ran."""
        self.work.append((name, len(self.all), False))
        while self.work:
            item = self.work.pop()
            if item not in self.seen:
                self.seen.add(item)
                self._need(*item)
        imported = [Import(_GIVEN_BY_IPYTHON[found], found) for found in sorted(self.given)]
        first = [Statement(str(found), {found.binds}, {found.binds}, imports=found) for found in imported]
        first += [s for s in self.all if s.imports and s.imports.module == "__future__"]
        return first + [self.all[place] for place in sorted(self.taken)]

    def bindings(self, name: str, before: int) -> list[int]:
        """Where a name got the value it has just before a statement: several places if some only may have bound it."""
        found = []
        for place in range(before - 1, -1, -1):
            statement = self.all[place]
            if name in statement.binds:
                found.append(place)
                dotted = statement.imports and not statement.imports.name and not statement.imports.asname
                if name in statement.sure and not dotted:  # `import a.b` adds to what `import a` bound
                    break
        return found

    def _need(self, name: str, before: int, called: bool) -> None:
        """Take what gives a name its value; called: what its functions read is needed at that moment too."""
        found = self.bindings(name, before)
        if not found:
            self._find_elsewhere(name, before)
            return
        for place in found:
            self._take(place)
            if called:
                self.work += [(read, before, True) for read in self.all[place].later]
        if not any(self.all[place].imports for place in found):
            for place in range(min(found) + 1, before):
                if name in self.all[place].changes:
                    self._take(place)

    def _take(self, place: int) -> None:
        if place in self.taken:
            return
        self.taken.add(place)
        statement = self.all[place]
        self.work += [(name, place, statement.runs) for name in statement.now]
        self.work += [(name, len(self.all), False) for name in statement.later]

    def _find_elsewhere(self, name: str, before: int) -> None:
        """A name that no statement binds: from a star import, from Python, or from IPython."""
        stars = [place for place in range(before) if self._is_star(place)]
        imports = [(place, self.all[place].imports) for place in stars]
        loaded = [(place, sys.modules.get(found.module)) for place, found in imports if found is not None]
        known = [place for place, module in loaded if module is not None and _exports(module, name)]
        unknown = [place for place, module in loaded if module is None]
        if known:
            self._take(known[-1])
        elif not hasattr(builtins, name) or name in _GIVEN_BY_IPYTHON:
            for place in unknown:
                self._take(place)
            if name in _GIVEN_BY_IPYTHON and not unknown:
                self.given.add(name)

    def _is_star(self, place: int) -> bool:
        found = self.all[place].imports
        return found is not None and found.name == "*"


def _exports(module: object, name: str) -> bool:
    public = getattr(module, "__all__", None)
    return name in public if public is not None else hasattr(module, name) and not name.startswith("_")


def _module(statements: list[Statement]) -> str:
    """Write statements as a module: imports first, where that changes nothing, then the rest in order."""
    owners: dict[str, set[str]] = {}
    for statement in statements:
        for name in statement.binds:
            dotted = statement.imports and not statement.imports.name and not statement.imports.asname
            owners.setdefault(name, set()).add(f"import {name}" if dotted else statement.source)
    first, rest = [], []
    for statement in statements:
        if statement.imports and all(len(owners[name]) == 1 for name in statement.binds):
            first.append(statement.imports)
        else:
            rest.append(statement)
    text = _write_imports(first)
    previous: Statement | None = None
    for statement in rest:
        if previous is None:
            gap = "\n\n\n" if statement.is_definition else "\n\n"
            text += gap if text else ""
        else:
            text += "\n\n\n" if statement.is_definition or previous.is_definition else "\n"
        text += statement.source.rstrip()
        previous = statement
    return text + "\n"


def _write_imports(imports: list[Import]) -> str:
    """Imports, each once, in three groups: of the future, of Python's own library, of others."""
    groups: dict[int, dict[tuple, list[Import]]] = {0: {}, 1: {}, 2: {}}
    for item in dict.fromkeys(imports):
        root = item.module.partition(".")[0]
        group = 0 if root == "__future__" else 1 if root in sys.stdlib_module_names else 2
        merges = item.name and item.name != "*"
        groups[group].setdefault((bool(item.name), item.module, "" if merges else item.part), []).append(item)
    written = []
    for found in groups.values():
        lines = []
        for (is_from, module, alone), items in sorted(found.items()):
            if is_from and not alone:
                lines.append(f"from {module} import {', '.join(sorted(item.part for item in items))}")
            else:
                lines.append(str(items[0]))
        if lines:
            written.append("\n".join(lines))
    return "\n\n".join(written)
