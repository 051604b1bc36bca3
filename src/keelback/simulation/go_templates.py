"""Go's text templates, as much as manifests use: read once, rendered over JSON-like values. Pure.

Fields, variables, pipelines, `if`, `with`, `range`, `break`, `continue`, `define`, `template`, comments and trimming.
Functions come from outside, but for those of `template_functions` that decide which of their arguments is looked at.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from keelback.simulation.template_functions import TemplateFailure, is_true, text_of

Functions: TypeAlias = Mapping[str, Callable[..., Any]]

_ACTION: Final = re.compile(
    r"\{\{(-\s)?\s*(/\*.*?\*/|(?:\"(?:[^\"\\]|\\.)*\"|`[^`]*`|[^\"`])*?)\s*(\s-)?\}\}", re.DOTALL
)
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)|(?P<number>[-+]?\d+(?:\.\d+)?)|(?P<variable>\$\w*)
    |(?P<field>\.[A-Za-z_]\w*)|(?P<word>[A-Za-z_]\w*)|(?P<sign>:=|[=|(),.]))""",
    re.VERBOSE,
)
_SHORT_CIRCUITS: Final = ("and", "or")
_DEEPEST: Final = 50


class TemplateError(ValueError):
    """The text is no template, or uses what is not supported; the message says what and where."""


class _Break(Exception):
    pass


class _Continue(Exception):
    pass


# What a template is made of.


@dataclass(frozen=True, slots=True)
class _Literal:
    value: Any


@dataclass(frozen=True, slots=True)
class _Path:
    """Fields of the dot, of a variable (by its name, "$" is the whole), or of what a pipeline gives."""

    of: str | _Pipeline
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Call:
    name: str
    arguments: tuple[_Operand, ...] = ()


_Operand: TypeAlias = "_Literal | _Path | _Call"


@dataclass(frozen=True, slots=True)
class _Pipeline:
    """Each command gets what the one before gave as its last argument."""

    commands: tuple[_Operand, ...]
    variables: tuple[str, ...] = ()
    is_new: bool = True
    """Whether its variables are made by it (`:=`), and not assigned to (`=`)."""


@dataclass(frozen=True, slots=True)
class _Action:
    pipeline: _Pipeline


@dataclass(frozen=True, slots=True)
class _Block:
    """`if`, `with` or `range`; `otherwise` is what `else` says."""

    verb: str
    pipeline: _Pipeline
    body: tuple[_Node, ...]
    otherwise: tuple[_Node, ...]


@dataclass(frozen=True, slots=True)
class _Include:
    name: str
    argument: _Pipeline | None


@dataclass(frozen=True, slots=True)
class _Leave:
    verb: str


_Node: TypeAlias = "str | _Action | _Block | _Include | _Leave"


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """A template that was read."""

    body: tuple[_Node, ...]
    defined: Mapping[str, tuple[_Node, ...]]

    def render(self, data: Any, functions: Functions) -> str:
        """The text it gives of the data. Raises TemplateFailure."""
        out: list[str] = []
        _Rendering(self, functions, out).all(self.body, data, _Scope({"$": data}))
        return "".join(out)


def parse(text: str, functions: Sequence[str]) -> Template:
    """Read a template that may call these functions. Raises TemplateError."""
    reader = _Reader(text, frozenset(functions))
    body, _ = reader.body(())
    return Template(body, reader.defined)


# Reading.


class _Reader:
    def __init__(self, text: str, functions: frozenset[str]) -> None:
        self._pieces = _pieces(text)
        self._functions = functions
        self.defined: dict[str, tuple[_Node, ...]] = {}

    def body(self, ends: tuple[str, ...]) -> tuple[tuple[_Node, ...], str]:
        """The nodes up to an `end` or another word that ends them, and the action that did."""
        nodes: list[_Node] = []
        for is_action, piece in self._pieces:
            if not is_action:
                nodes.append(piece)
                continue
            word, _, rest = piece.partition(" ")
            if word in ends:
                return tuple(nodes), piece
            match word:
                case "if" | "with" | "range":
                    nodes.append(self._block(word, rest))
                case "define":
                    self._define(rest)
                case "template":
                    nodes.append(self._include(rest))
                case "break" | "continue":
                    nodes.append(_Leave(word))
                case "end" | "else" | "block":
                    raise TemplateError(f"{{{{ {piece} }}}} is not understood there")
                case _:
                    nodes.append(_Action(self._pipeline(piece)))
        if ends:
            raise TemplateError("an {{ end }} is missing")
        return tuple(nodes), ""

    def _block(self, verb: str, head: str) -> _Block:
        pipeline = self._pipeline(head, is_range=verb == "range")
        body, ended = self.body(("end", "else"))
        otherwise: tuple[_Node, ...] = ()
        if ended != "end":
            chained, _, rest = ended.removeprefix("else").strip().partition(" ")
            if chained:
                # `else if` is an `if` inside of `else`; one `end` ends both.
                otherwise = (self._block(chained, rest),)
            else:
                otherwise, _ = self.body(("end",))
        return _Block(verb, pipeline, body, otherwise)

    def _define(self, head: str) -> None:
        body, _ = self.body(("end",))
        self.defined[_string(head.strip())] = body

    def _include(self, head: str) -> _Include:
        tokens = _Tokens(head, self._functions)
        kind, name = tokens.take()
        if kind != "string":
            raise TemplateError(f"{{{{ template {head} }}}}: a name in quotes is missing")
        return _Include(_string(name), tokens.pipeline() if tokens.more() else None)

    def _pipeline(self, text: str, *, is_range: bool = False) -> _Pipeline:
        tokens = _Tokens(text, self._functions)
        found = tokens.pipeline(is_range=is_range)
        if tokens.more():
            raise tokens.unexpected()
        return found


class _Tokens:
    """The tokens of one action, and what they mean together."""

    def __init__(self, text: str, functions: frozenset[str]) -> None:
        self._text = text
        self._functions = functions
        self._found = list(_tokens(text))
        self._next = 0

    def more(self) -> bool:
        return self._next < len(self._found)

    def peek(self) -> tuple[str, str]:
        """The kind and text of the next token; a blank before it is in the kind of those where it matters."""
        return self._found[self._next][:2] if self.more() else ("", "")

    def take(self) -> tuple[str, str]:
        found = self.peek()
        self._next += 1
        return found

    def unexpected(self) -> TemplateError:
        return TemplateError(f"{{{{ {self._text} }}}}: {self.peek()[1] or 'the end'!r} is not understood there")

    def pipeline(self, *, is_range: bool = False) -> _Pipeline:
        variables, is_new = self._variables(is_range=is_range)
        commands = [self._command()]
        while self.peek() == ("sign", "|"):
            self._next += 1
            commands.append(self._command())
        return _Pipeline(tuple(commands), variables, is_new)

    def _variables(self, *, is_range: bool) -> tuple[tuple[str, ...], bool]:
        began, found = self._next, []
        while self.peek()[0] == "variable":
            found.append(self.take()[1])
            if self.peek() == ("sign", ",") and is_range and len(found) == 1:
                self._next += 1
                continue
            if self.peek() in (("sign", ":="), ("sign", "=")):
                return tuple(found), self.take()[1] == ":="
            break
        self._next = began
        return (), True

    def _command(self) -> _Operand:
        if self.peek()[0] == "word" and self.peek()[1] not in ("true", "false", "nil"):
            name = self._function()
            arguments: list[_Operand] = []
            while self.more() and self.peek()[1] not in ("|", ")"):
                arguments.append(self._operand())
            return _Call(name, tuple(arguments))
        found = self._operand()
        if self.more() and self.peek()[1] not in ("|", ")"):
            raise self.unexpected()
        return found

    def _operand(self) -> _Operand:
        kind, text = self.take()
        match kind:
            case "string":
                return _Literal(_string(text))
            case "number":
                return _Literal(float(text) if "." in text else int(text))
            case "variable":
                return _Path(text, self._fields())
            case "field":
                return _Path(".", (text[1:], *self._fields()))
            case "word" if text in ("true", "false", "nil"):
                return _Literal({"true": True, "false": False, "nil": None}[text])
            case "word":
                self._next -= 1
                return _Call(self._function())
            case "sign" if text == ".":
                return _Path(".")
            case "sign" if text == "(":
                inner = self.pipeline()
                if self.take() != ("sign", ")"):
                    raise self.unexpected()
                return _Path(inner, self._fields())
        self._next -= 1
        raise self.unexpected()

    def _fields(self) -> tuple[str, ...]:
        """The fields that follow without a blank: with one they are another argument."""
        found = []
        while self.more() and self._found[self._next][0] == "field" and not self._found[self._next][2]:
            found.append(self.take()[1][1:])
        return tuple(found)

    def _function(self) -> str:
        _, name = self.take()
        if name not in self._functions and name not in _SHORT_CIRCUITS:
            raise TemplateError(f"{{{{ {self._text} }}}}: no function {name!r} is known here")
        return name


def _pieces(text: str) -> Iterator[tuple[bool, str]]:
    """Text and actions in their order, comments left out, trimmed where the markers say so."""
    at, trims = 0, False
    for found in _ACTION.finditer(text):
        plain = text[at : found.start()]
        plain = plain.lstrip() if trims else plain
        plain = plain.rstrip() if found[1] else plain
        if "{{" in plain:
            raise TemplateError(f"an action is not ended: {plain[plain.index('{{') :][:60]!r}")
        if plain:
            yield False, plain
        at, trims = found.end(), bool(found[3])
        if not found[2].startswith("/*"):
            yield True, " ".join(_words(found[2]))
    rest = text[at:].lstrip() if trims else text[at:]
    if "{{" in rest:
        raise TemplateError(f"an action is not ended: {rest[rest.index('{{') :][:60]!r}")
    if rest:
        yield False, rest


def _words(action: str) -> Iterator[str]:
    """The action with single blanks, but for those in quotes."""
    for found in re.finditer(r"(?:\"(?:[^\"\\]|\\.)*\"|`[^`]*`|[^\s\"`])+", action):
        yield found[0]


def _tokens(text: str) -> Iterator[tuple[str, str, bool]]:
    at, end = 0, len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if found is None or found.lastgroup is None:
            raise TemplateError(f"{{{{ {text} }}}}: {text[at:].strip()[:1]!r} is not understood there")
        yield found.lastgroup, found[found.lastgroup], found.start(found.lastgroup) > at
        at = found.end()


def _string(text: str) -> str:
    if text.startswith("`"):
        return text[1:-1]
    return re.sub(r"\\(.)", lambda found: {"n": "\n", "t": "\t", "r": "\r"}.get(found[1], found[1]), text[1:-1])


# Rendering.


@dataclass(slots=True)
class _Scope:
    """The variables of a block; those of the blocks around it are seen, and may be assigned to."""

    own: dict[str, Any]
    around: _Scope | None = field(default=None)

    def holder(self, name: str) -> dict[str, Any]:
        scope: _Scope | None = self
        while scope is not None:
            if name in scope.own:
                return scope.own
            scope = scope.around
        raise TemplateFailure(f"there is no variable {name}")


@dataclass(frozen=True, slots=True)
class _Rendering:
    template: Template
    functions: Functions
    out: list[str]
    depth: int = 0

    def all(self, nodes: Sequence[_Node], dot: Any, scope: _Scope) -> None:
        for node in nodes:
            match node:
                case str():
                    self.out.append(node)
                case _Action(pipeline):
                    value = self._value(pipeline, dot, scope)
                    if not pipeline.variables:
                        self.out.append(text_of(value))
                case _Block(verb="range"):
                    self._range(node, dot, scope)
                case _Block(verb, pipeline, body, otherwise):
                    inner = _Scope({}, scope)
                    value = self._value(pipeline, dot, inner)
                    within = value if verb == "with" and is_true(value) else dot
                    self.all(body if is_true(value) else otherwise, within, inner)
                case _Include(name, argument):
                    self._include(name, None if argument is None else self._value(argument, dot, scope))
                case _Leave(verb):
                    raise _Break if verb == "break" else _Continue

    def _range(self, block: _Block, dot: Any, scope: _Scope) -> None:
        entries = list(_entries(self._value(_Pipeline(block.pipeline.commands), dot, scope)))
        if not entries:
            self.all(block.otherwise, dot, _Scope({}, scope))
            return
        names = block.pipeline.variables
        for key, value in entries:
            own = dict(zip(names, (key, value) if len(names) == 2 else (value,), strict=False))
            try:
                self.all(block.body, value, _Scope(own, scope))
            except _Continue:
                continue
            except _Break:
                return

    def _include(self, name: str, data: Any) -> None:
        if name not in self.template.defined:
            raise TemplateFailure(f"there is no template {name!r}")
        if self.depth == _DEEPEST:
            raise TemplateFailure(f"template {name!r} is in itself without end")
        inner = _Rendering(self.template, self.functions, self.out, self.depth + 1)
        inner.all(self.template.defined[name], data, _Scope({"$": data}))

    def _value(self, pipeline: _Pipeline, dot: Any, scope: _Scope) -> Any:
        value: Any = None
        for number, command in enumerate(pipeline.commands):
            if number and not isinstance(command, _Call):
                raise TemplateFailure("what follows a | is a function")
            value = self._operand(command, dot, scope, (value,) if number else ())
        for name in pipeline.variables:
            (scope.own if pipeline.is_new else scope.holder(name))[name] = value
        return value

    def _operand(self, operand: _Operand, dot: Any, scope: _Scope, last: tuple[Any, ...] = ()) -> Any:
        match operand:
            case _Literal(value):
                return value
            case _Path(of, fields):
                value = self._start(of, dot, scope)
                for name in fields:
                    value = _field(value, name)
                return value
            case _Call(name, arguments) if name in _SHORT_CIRCUITS:
                return self._short_circuit(name, arguments, dot, scope, last)
            case _Call(name, arguments):
                given = [self._operand(one, dot, scope) for one in arguments]
                try:
                    return self.functions[name](*given, *last)
                except TypeError as error:
                    raise TemplateFailure(f"{name}: {error}") from None

    def _start(self, of: str | _Pipeline, dot: Any, scope: _Scope) -> Any:
        if isinstance(of, _Pipeline):
            return self._value(of, dot, scope)
        return dot if of == "." else scope.holder(of)[of]

    def _short_circuit(
        self, name: str, arguments: tuple[_Operand, ...], dot: Any, scope: _Scope, last: tuple[Any, ...]
    ) -> Any:
        value: Any = None
        for argument in arguments:
            value = self._operand(argument, dot, scope)
            if is_true(value) == (name == "or"):
                return value
        return last[0] if last else value


def _field(value: Any, name: str) -> Any:
    # As of Go's maps without a `missingkey` option: what is not there is no value, and so are its fields.
    if value is None:
        return None
    if isinstance(value, Mapping):
        return value.get(name)
    if name in ("Int64", "String") and isinstance(value, int | float) and not isinstance(value, bool):
        # Numbers of objects are json.Number to a template, and these are its methods.
        return int(value) if name == "Int64" else text_of(value)
    raise TemplateFailure(f"{text_of(value)!r} has no field {name}")


def _entries(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        yield from sorted(value.items())
    elif isinstance(value, bool | str):
        raise TemplateFailure(f"range cannot go over {text_of(value)!r}")
    elif isinstance(value, int):
        yield from ((number, number) for number in range(value))
    elif value is not None:
        yield from enumerate(value)
