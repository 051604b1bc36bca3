"""Text to syntax tree: operators by precedence, macros expanded on the way, errors in cel-go's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from keelback.cel import literals
from keelback.cel.errors import CompileError
from keelback.cel.lexer import END, Token, Unrecognised, tokens
from keelback.cel.source import Source
from keelback.cel.syntax import (
    AND,
    CONDITIONAL,
    IN,
    INDEX,
    NEGATE,
    NOT,
    OPTIONAL_INDEX,
    OPTIONAL_SELECT,
    OR,
    Call,
    Comprehension,
    Entry,
    Expression,
    Fold,
    Identifier,
    ListLiteral,
    Literal,
    Macro,
    MapLiteral,
    ObjectLiteral,
    Select,
)
from keelback.cel.values import Value

LONGEST_EXPRESSION = 100_000
DEEPEST_EXPRESSION = 250
_RESERVED = frozenset(
    [
        "as",
        "break",
        "const",
        "continue",
        "else",
        "false",
        "for",
        "function",
        "if",
        "import",
        "in",
        "let",
        "loop",
        "package",
        "namespace",
        "null",
        "return",
        "true",
        "var",
        "void",
        "while",
    ]
)
_PRECEDENCE = {
    "||": 1,
    "&&": 2,
    **dict.fromkeys(("<", "<=", ">=", ">", "==", "!=", "in"), 3),
    **dict.fromkeys(("+", "-"), 4),
    **dict.fromkeys(("*", "/", "%"), 5),
}
_FUNCTIONS = {operator: f"_{operator}_" for operator in _PRECEDENCE} | {"in": IN}
_BEGINNINGS = "{square}'{{', {brace}'(', {round}'.', {comma}'-', '!', {question}'true', 'false', 'null', NUM_FLOAT, "
_BEGINNINGS += "NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER"
_ABSENT = dict.fromkeys(("brace", "round", "comma", "question"), "")
_OPERANDS = _BEGINNINGS.format_map({**_ABSENT, "square": "'[', "})
"""What ANTLR says an operand may begin with, in the order of the grammar's tokens."""
_IN_LIST = _BEGINNINGS.format_map({**_ABSENT, "square": "'[', ']', ", "comma": "',', ", "question": "'?', "})
_IN_MAP = _BEGINNINGS.format_map(
    {**_ABSENT, "square": "'[', ", "brace": "'}', ", "comma": "',', ", "question": "'?', "}
)
_IN_OBJECT = "'}', ',', '?', IDENTIFIER, ESC_IDENTIFIER"
_IN_CALL = _BEGINNINGS.format_map({**_ABSENT, "square": "'[', ", "round": "')', "})
_LITERALS = frozenset({"string", "bytes", "int", "uint", "double", "true", "false", "null"})
_BEGIN_OPERANDS = _LITERALS | {"identifier", ".", "(", "[", "{", "!", "-"}
_BEGIN_FIELDS = frozenset({"identifier"})
_CONTINUE_OPERANDS = frozenset({*_PRECEDENCE, ".", "[", "?"})

MacroKey = tuple[str, bool, int]


def parse(source: Source, macros: Mapping[MacroKey, Macro]) -> Expression:
    """The tree of an expression. Raises CompileError."""
    if len(source.text) > LONGEST_EXPRESSION:
        source.report(
            f"expression code point size exceeds limit: size: {len(source.text)}, limit {LONGEST_EXPRESSION}", None
        )
        raise CompileError(source.issues())
    parser = _Parser(source, macros)
    try:
        expression = parser.whole()
    except _SyntaxError:
        expression = None
    except RecursionError:
        source.report(f"expression recursion limit exceeded: {DEEPEST_EXPRESSION}", None)
        expression = None
    if source.has_issues or expression is None:
        raise CompileError(source.issues())
    return expression


class _SyntaxError(Exception):
    """Reported; nothing can be said of what follows."""


class _Parser:
    def __init__(self, source: Source, macros: Mapping[MacroKey, Macro]) -> None:
        self._source = source
        self._macros = macros
        self._tokens: list[Token] = []
        self._ids = 0
        self._depth = 0
        self._open = 0
        for token in tokens(source.text):
            if isinstance(token, Unrecognised):
                text = token.text.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
                source.report(f"Syntax error: token recognition error at: '{text}'", token.position)
            else:
                self._tokens.append(token)
        self._next = 0

    def whole(self) -> Expression:
        expression = self._expression()
        self._expect(END, END)
        return expression

    # Every nested expression is two frames of Python: this one, and that of its operand.
    def _expression(self, *, may_choose: bool = True) -> Expression:
        self._deeper()
        operands = [self._operand()]
        operators: list[Token] = []
        while True:
            token = self._tokens[self._next]
            precedence = _PRECEDENCE.get(token.kind, 0)
            while operators and _PRECEDENCE[operators[-1].kind] >= precedence:
                # Runs of && and || stay together, to be balanced: their precedences are their own.
                if precedence and _PRECEDENCE[operators[-1].kind] == precedence <= 2:
                    break
                self._reduce(operands, operators)
            if not precedence:
                break
            self._next += 1
            operators.append(token)
            operands.append(self._operand())
        condition = operands[0]
        token = self._tokens[self._next]
        if token.kind == "?" and may_choose:
            self._next += 1
            id, position = self._id(), token.position
            if_true = self._expression(may_choose=False)
            self._expect(":", "':'")
            condition = Call(id, position, CONDITIONAL, None, (condition, if_true, self._expression()))
        self._depth -= 1
        return condition

    def _reduce(self, operands: list[Expression], operators: list[Token]) -> None:
        kind = operators[-1].kind
        if kind not in ("&&", "||"):
            operator = operators.pop()
            right = operands.pop()
            left = operands.pop()
            operands.append(self._call(operator.position, _FUNCTIONS[kind], None, (left, right)))
            return
        run: list[Token] = []
        while operators and operators[-1].kind == kind:
            run.append(operators.pop())
        run.reverse()
        terms = operands[-len(run) - 1 :]
        del operands[-len(run) - 1 :]
        operands.append(self._balanced(AND if kind == "&&" else OR, terms, run, 0, len(run) - 1))

    def _balanced(
        self, function: str, terms: list[Expression], operators: list[Token], low: int, high: int
    ) -> Expression:
        """A tree as flat as can be (cel-go, parser/helper.go): recursion stays shallow for a hundred terms."""
        middle = (low + high + 1) // 2
        left = terms[middle] if middle == low else self._balanced(function, terms, operators, low, middle - 1)
        right = terms[middle + 1] if middle == high else self._balanced(function, terms, operators, middle + 1, high)
        return Call(self._id(), operators[middle].position, function, None, (left, right))

    def _operand(self) -> Expression:
        self._begin(_OPERANDS)
        token = self._tokens[self._next]
        if token.kind in ("!", "-"):
            return self._prefixed(token)
        self._next += 1
        position, kind = token.position, token.kind
        expression: Expression
        if kind == "identifier" or kind == ".":
            expression = self._identifier(token)
        elif kind in _LITERALS:
            expression = Literal(self._id(), position, self._literal(token))
        elif kind == "(":
            self._open += 1
            expression = self._expression()
            self._expect(")", "')'")
            self._open -= 1
        elif kind == "[":
            expression = self._list(position)
        else:
            id = self._id()
            expression = MapLiteral(id, position, self._entries(is_map=True))
        return self._members(expression)

    def _prefixed(self, token: Token) -> Expression:
        """`!x`, `-x`, in any number; an even one cancels out. `-1` is a literal."""
        kind, count = token.kind, 0
        first = token
        while self._tokens[self._next].kind == kind:
            self._next += 1
            count += 1
        number = self._tokens[self._next]
        if kind == "-" and number.kind in ("int", "double"):
            count -= 1
            self._next += 1
            self._depth += 1
            literal = Literal(
                self._id(), self._tokens[self._next - 2].position, self._literal(number, is_negative=True)
            )
            self._depth -= 1
            operand = self._members(literal)
        elif number.kind in ("!", "-"):
            self._fail(f"extraneous input '{number.text}' expecting {{{_OPERANDS}}}", number)
        else:
            if kind == "-" and number.kind not in _BEGIN_OPERANDS:
                text = "" if number.kind == END else number.text
                self._source.report(f"Syntax error: no viable alternative at input '-{text}'", number.position)
            operand = self._operand()
        if count % 2 == 0:
            return operand
        return self._call(first.position, NOT if kind == "!" else NEGATE, None, (operand,))

    def _literal(self, token: Token, *, is_negative: bool = False) -> Value:
        try:
            match token.kind:
                case "string":
                    return literals.parse_string(token.text)
                case "bytes":
                    return literals.parse_bytes(token.text)
                case "int":
                    return literals.parse_int(token.text, is_negative=is_negative)
                case "uint":
                    return literals.parse_uint(token.text)
                case "double":
                    return literals.parse_double(token.text) * (-1.0 if is_negative else 1.0)
                case "null":
                    return None
                case kind:
                    return kind == "true"
        except literals.LiteralError as error:
            self._source.report(str(error), token.position)
            return None

    def _identifier(self, token: Token) -> Expression:
        """A name, a call of a function, or an object literal."""
        position, name = token.position, token.text
        if token.kind == ".":
            token = self._expect("identifier", "IDENTIFIER")
            name = f".{token.text}"
        if token.text in _RESERVED:
            self._source.report(f"reserved identifier: {token.text}", position)
        follows = self._tokens[self._next]
        if follows.kind == "(":
            self._next += 1
            return self._call(follows.position, name, None, self._arguments())
        literal = self._object_literal(name)
        if literal is not None:
            return literal
        return Identifier(self._id(), position, name)

    def _object_literal(self, name: str) -> Expression | None:
        """`a.b.C{…}`, if the names that follow lead to a brace."""
        ahead = self._next
        while self._tokens[ahead].kind == "." and self._tokens[ahead + 1].kind == "identifier":
            name = f"{name}.{self._tokens[ahead + 1].text}"
            ahead += 2
        if self._tokens[ahead].kind != "{":
            return None
        position = self._tokens[ahead].position
        self._next = ahead + 1
        id = self._id()
        return ObjectLiteral(id, position, name, self._entries(is_map=False))

    def _members(self, expression: Expression) -> Expression:
        """What follows an operand: fields, methods, indices."""
        depth = self._depth
        while True:
            token = self._tokens[self._next]
            if token.kind == ".":
                self._next += 1
                self._deeper()
                expression = self._member(expression, token)
            elif token.kind == "[":
                self._next += 1
                self._deeper()
                id = self._id()
                is_optional = self._accept("?")
                self._open += 1
                index = self._expression()
                self._expect("]", "']'")
                self._open -= 1
                function = OPTIONAL_INDEX if is_optional else INDEX
                expression = Call(id, token.position, function, None, (expression, index))
            else:
                self._depth = depth
                return expression

    def _member(self, operand: Expression, dot: Token) -> Expression:
        is_optional = self._accept("?")
        name = self._tokens[self._next]
        if name.kind != "identifier":
            text = "" if name.kind == END else name.text
            self._source.report(f"Syntax error: no viable alternative at input '.{text}'", name.position)
            if name.kind == END or name.kind in _CONTINUE_OPERANDS:
                return operand
            raise _SyntaxError
        self._next += 1
        if is_optional:
            id = self._id()
            return Call(
                id, dot.position, OPTIONAL_SELECT, None, (operand, Literal(self._id(), name.position, name.text))
            )
        follows = self._tokens[self._next]
        if follows.kind == "(":
            self._next += 1
            return self._call(follows.position, name.text, operand, self._arguments())
        return Select(self._id(), dot.position, operand, name.text)

    def _arguments(self) -> tuple[Expression, ...]:
        arguments: list[Expression] = []
        if self._accept(")"):
            return ()
        self._open += 1
        self._begin(_IN_CALL)
        arguments.append(self._expression())
        while self._accept(","):
            arguments.append(self._expression())
        self._expect(")", "')'")
        self._open -= 1
        return tuple(arguments)

    def _list(self, position: int) -> Expression:
        id = self._id()
        elements: list[Expression] = []
        optional: set[int] = set()
        goes_on = self._first("]", _IN_LIST)
        while goes_on:
            if self._accept("?"):
                optional.add(len(elements))
            elements.append(self._expression())
            goes_on = self._another("]") and not self._accept("]")
        self._open -= 1
        return ListLiteral(id, position, tuple(elements), frozenset(optional))

    def _entries(self, *, is_map: bool) -> tuple[Entry, ...]:
        entries: list[Entry] = []
        goes_on = self._first("}", _IN_MAP if is_map else _IN_OBJECT, is_map=is_map)
        while goes_on:
            is_optional = self._accept("?")
            key = self._expression() if is_map else self._expect("identifier", "IDENTIFIER").text
            colon = self._expect(":", "':'")
            id = self._id()
            entries.append(Entry(id, colon.position, key, self._expression(), is_optional))
            goes_on = self._another("}") and not self._accept("}")
        self._open -= 1
        return tuple(entries)

    def _first(self, closing: str, expected: str, *, is_map: bool = True) -> bool:
        """Whether there is anything between brackets; they may also hold one comma alone."""
        self._open += 1
        if self._accept(closing):
            return False
        if self._accept(","):
            self._expect(closing, f"'{closing}'")
            return False
        if self._tokens[self._next].kind != "?":
            self._begin(expected, _BEGIN_OPERANDS if is_map else _BEGIN_FIELDS)
        return True

    def _another(self, closing: str) -> bool:
        """Whether a comma follows, rather than the end; one token that does not belong is left out."""
        token, after = self._tokens[self._next], self._tokens[min(self._next + 1, len(self._tokens) - 1)]
        if token.kind not in (",", closing):
            if after.kind not in (",", closing):
                self._fail(f"mismatched input '{token.text}' expecting {{'{closing}', ','}}", token)
            message = f"Syntax error: extraneous input '{token.text}' expecting {{'{closing}', ','}}"
            self._source.report(message, token.position)
            self._next += 1
        self._next += 1
        return self._tokens[self._next - 1].kind == ","

    def _call(
        self, position: int, function: str, target: Expression | None, arguments: tuple[Expression, ...]
    ) -> Expression:
        id = self._id()
        macro = self._macros.get((function, target is not None, len(arguments)))
        if macro is not None:
            expansion = macro.expand(_Expansion(self, position), target, arguments)
            if expansion is not None:
                return expansion
        return Call(id, position, function, target, arguments)

    def _id(self) -> int:
        self._ids += 1
        return self._ids

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > DEEPEST_EXPRESSION:
            self._source.report(f"expression recursion limit exceeded: {DEEPEST_EXPRESSION}", None)
            raise _SyntaxError

    def _accept(self, kind: str) -> bool:
        if self._tokens[self._next].kind == kind:
            self._next += 1
            return True
        return False

    def _expect(self, kind: str, expected: str) -> Token:
        """Take a token; where there is another, do as ANTLR does: leave one out, add one, or give up."""
        token = self._tokens[self._next]
        if token.kind != kind:
            if token.kind != END and self._tokens[self._next + 1].kind == kind:
                self._source.report(
                    f"Syntax error: extraneous input '{token.text}' expecting {expected}", token.position
                )
                self._next += 1
            elif self._may_follow(kind, token):
                self._source.report(f"Syntax error: missing {expected} at '{token.text}'", token.position)
                return Token(kind, kind, token.position)
            else:
                self._fail(f"mismatched input '{token.text}' expecting {expected}", token)
        self._next += 1
        return self._tokens[self._next - 1]

    def _may_follow(self, kind: str, token: Token) -> bool:
        """Whether only the expected token is missing."""
        if kind == ":":
            return token.kind in _BEGIN_OPERANDS
        is_closing = kind in (")", "]")
        return is_closing and (token.kind in _CONTINUE_OPERANDS or (token.kind == END and self._open == 1))

    def _begin(self, expected: str, beginnings: frozenset[str] = _BEGIN_OPERANDS) -> None:
        """See to it that an operand (or a field) begins here; one token that does not belong is left out."""
        token = self._tokens[self._next]
        if token.kind in beginnings:
            return
        if token.kind != END and self._tokens[self._next + 1].kind in beginnings:
            self._source.report(
                f"Syntax error: extraneous input '{token.text}' expecting {{{expected}}}", token.position
            )
            self._next += 1
            return
        self._fail(f"mismatched input '{token.text}' expecting {{{expected}}}", token)

    def _fail(self, message: str, token: Token) -> NoReturn:
        self._source.report(f"Syntax error: {message}", token.position)
        raise _SyntaxError


class _Expansion:
    """Makes the nodes of one macro's expansion: the Expander of syntax.py."""

    def __init__(self, parser: _Parser, position: int) -> None:
        self._parser = parser
        self._position = position

    def literal(self, value: Value) -> Literal:
        return Literal(self._parser._id(), self._position, value)

    def identifier(self, name: str) -> Identifier:
        return Identifier(self._parser._id(), self._position, name)

    def call(self, function: str, *arguments: Expression, target: Expression | None = None) -> Call:
        return Call(self._parser._id(), self._position, function, target, arguments)

    def list(self, *elements: Expression) -> ListLiteral:
        return ListLiteral(self._parser._id(), self._position, elements)

    def map(self) -> MapLiteral:
        return MapLiteral(self._parser._id(), self._position, ())

    def test(self, operand: Expression, field: str) -> Select:
        return Select(self._parser._id(), self._position, operand, field, is_test=True)

    def comprehension(
        self,
        over: Expression,
        variables: tuple[str, str],
        accumulator: str,
        fold: Fold,
        macro: str = "",
        parts: tuple[Expression | None, ...] = (),
    ) -> Comprehension:
        id = self._parser._id()
        return Comprehension(id, self._position, over, *variables, accumulator, *fold, macro, parts)

    def fail(self, message: str, at: Expression) -> Expression:
        self._parser._source.report(message, at.position)
        return self.literal(None)
