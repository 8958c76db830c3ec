"""A shell script as the simple commands that it would run, wherever they stand in it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING

from pytest_agentcap.safety.commands import Redirect, Script, SimpleCommand, Word

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

_SCOPES = frozenset({"subshell", "command_substitution", "process_substitution"})
_REDIRECTS = frozenset({"file_redirect", "heredoc_redirect", "herestring_redirect"})
_WRITES = frozenset({">", ">>", ">|", "&>", "&>>", ">&"})
_APPENDS = frozenset({">>", "&>>"})
_SUBSTITUTIONS = frozenset({"command_substitution", "process_substitution"})
# What these stand for is parted at blanks where it is not quoted.
_PARTED = frozenset({"simple_expansion", "expansion", "command_substitution"})
_DEFAULTS = frozenset({":-", "-", ":=", "="})
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_QUOTED_ESCAPE = re.compile(r"\\([$`\"\\\n])")
# More than any agent writes, and no deeper than Python's own stack goes.
_MAX_BYTES, _MAX_DEPTH, _MAX_WORD = 1 << 20, 200, 1 << 20
# A variable that is doubled again and again must not fill the memory.
_MAX_VALUE = 1000


def parse(text: str, variables: dict[str, str] | None = None) -> Script:
    """Parse a script; `variables` are known from outside, and those that the script sets are added to them."""
    data = text.encode("utf-8", "replace")
    if len(data) > _MAX_BYTES or "\0" in text:
        return Script((), frozenset(), False)
    root = _parser().parse(data).root_node
    if root.has_error and "<>" in text:
        # The grammar has no file that is opened for both.
        root = _parser().parse(data.replace(b"<>", b"> ")).root_node
    reader = _Reader({} if variables is None else variables)
    try:
        reader.visit(root, (), 0)
    except RecursionError:
        return Script(tuple(reader.commands), frozenset(reader.functions), False)
    return Script(tuple(reader.commands), frozenset(reader.functions), not root.has_error)


@cache
def _parser() -> Parser:
    import tree_sitter
    import tree_sitter_bash

    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_bash.language()))


@dataclass(slots=True)
class _Reader:
    variables: dict[str, str]
    commands: list[SimpleCommand] = field(default_factory=list)
    functions: set[str] = field(default_factory=set)
    # What substitutions print, by where they begin.
    printed: dict[int, str] = field(default_factory=dict)

    def visit(self, node: Node, scope: tuple[int, ...], depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise RecursionError
        match node.type:
            case "command":
                self._command(node, scope, depth)
                return
            case "redirected_statement":
                self._redirected(node, scope, depth)
                return
            case "pipeline":
                self._pipeline(node, scope, depth)
                return
            case "variable_assignment":
                self._visit_children(node, scope, depth)
                self._assignment(node)
                return
            case "function_definition":
                self.functions.add(_text(node.child_by_field_name("name") or node.children[0]))
        if node.type in _SCOPES:
            scope = (*scope, node.start_byte)
        before = len(self.commands)
        self._visit_children(node, scope, depth)
        if node.type in _SUBSTITUTIONS and node.named_child_count == 1 and before < len(self.commands):
            told = self.commands[-1].printed
            if told is not None:
                self.printed[node.start_byte] = told

    def _visit_children(self, node: Node, scope: tuple[int, ...], depth: int) -> None:
        for child in node.children:
            self.visit(child, scope, depth + 1)

    def _command(self, node: Node, scope: tuple[int, ...], depth: int) -> None:
        """Note a command, after those that run inside of its words."""
        parts = [child for child in node.children if child.type not in {"variable_assignment", *_REDIRECTS}]
        redirects = [child for child in node.children if child.type in _REDIRECTS]
        self._inside(node, scope, depth)
        words = [word for part in parts if part.is_named for word in self._words(part)]
        files, stdin, more = self._redirects(redirects)
        self.commands.append(SimpleCommand((*words, *more), files, stdin, scope, _source(files)))

    def _redirected(self, node: Node, scope: tuple[int, ...], depth: int) -> None:
        body = [child for child in node.children if child.type not in _REDIRECTS]
        redirects = [child for child in node.children if child.type in _REDIRECTS]
        # What stands behind `<<EOF` on its line is inside of the here-document for the grammar.
        redirects += [inner for each in redirects for inner in each.children if inner.type in _REDIRECTS]
        before = len(self.commands)
        for child in body:
            self.visit(child, scope, depth + 1)
        made = len(self.commands)
        for redirect in redirects:
            self._inside(redirect, scope, depth, pipelines=False)
        files, stdin, more = self._redirects(redirects)
        if body and body[0].type == "command" and made > before:
            last = self.commands[made - 1]
            stdin = last.stdin if stdin is None else stdin
            joined = replace(last, words=last.words + more, redirects=last.redirects + files, stdin=stdin)
            self.commands[made - 1] = replace(joined, source=last.source or _source(files))
        else:
            self.commands.append(SimpleCommand((), files, stdin, scope))
        self._piped_heredoc(redirects, stdin, scope, depth)

    def _piped_heredoc(self, redirects: list[Node], stdin: str | None, scope: tuple[int, ...], depth: int) -> None:
        """Visit what stands behind `<<EOF |`: the grammar has it inside of the here-document."""
        for redirect in redirects:
            for child in redirect.children if redirect.type == "heredoc_redirect" else ():
                if child.type not in ("pipeline", "list", "command"):
                    continue
                before = len(self.commands)
                self.visit(child, scope, depth + 1)
                if child.type == "pipeline" and before < len(self.commands):
                    self.commands[before] = replace(self.commands[before], stdin=stdin)

    def _pipeline(self, node: Node, scope: tuple[int, ...], depth: int) -> None:
        told: str | None = None
        shown: Word | None = None
        for child in node.children:
            before = len(self.commands)
            self.visit(child, (*scope, child.start_byte), depth + 1)
            made = self.commands[before:]
            if not child.is_named or not made:
                continue
            last = made[-1]
            if last.stdin is None and last.source is None:
                last = self.commands[-1] = replace(last, stdin=told, source=shown)
            told = last.printed if len(made) == 1 else None
            shown = _shown_file(last) if len(made) == 1 else None

    def _inside(self, node: Node, scope: tuple[int, ...], depth: int, pipelines: bool = True) -> None:
        """Visit the substitutions inside of a command's words."""
        for child in node.children:
            if child.type in _SCOPES:
                self.visit(child, scope, depth + 1)
            elif child.type not in ("command", "redirected_statement") and (pipelines or child.type != "pipeline"):
                self._inside(child, scope, depth + 1, pipelines)

    def _redirects(self, nodes: list[Node]) -> tuple[tuple[Redirect, ...], str | None, tuple[Word, ...]]:
        """Return files, standard input, and the words that stand behind a redirection but belong to the command."""
        files: list[Redirect] = []
        stdin: str | None = None
        more: list[Word] = []
        for node in nodes:
            operator = next((child.type for child in node.children if not child.is_named), "")
            words = [self.word(child) for child in node.children if child.is_named and _is_word(child)]
            if node.type == "heredoc_redirect":
                bodies = [child for child in node.children if child.type == "heredoc_body"]
                stdin = "".join(_text(body) for body in bodies)
            elif node.type == "herestring_redirect":
                stdin = words[0].text if words else None
            elif words:
                more += words[1:]
                duplicates = operator in (">&", "<&") and (words[0].text.isdigit() or words[0].text == "-")
                if not duplicates:
                    files.append(Redirect(words[0], operator in _WRITES, operator in _APPENDS))
        return tuple(files), stdin, tuple(more)

    def _assignment(self, node: Node) -> None:
        name, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        if name is None:
            return
        word = self.word(value) if value is not None else Word("")
        if word.known and len(word.text) <= _MAX_VALUE:
            self.variables[_text(name)] = word.text
        else:
            self.variables.pop(_text(name), None)

    def _words(self, node: Node) -> list[Word]:
        """Return the words that a part of a command stands for."""
        word = self.word(node)
        bare = node.children[0] if node.type == "command_name" and node.child_count == 1 else node
        if bare.type in _PARTED and word.known:
            return [Word(text) for text in word.text.split()]
        return [word]

    def word(self, node: Node) -> Word:
        """Return what a node of the tree stands for as one word."""
        match node.type:
            case "word" | "number" | "variable_name" | "special_variable_name" | "file_descriptor" | "test_operator":
                return Word(_ESCAPE.sub(r"\1", _text(node)))
            case "raw_string":
                return Word(_text(node)[1:-1])
            case "ansi_c_string":
                return Word(_decoded(_text(node)[2:-1]))
            case "string_content":
                return Word(_QUOTED_ESCAPE.sub(r"\1", _text(node)))
            case "string" | "translated_string" | "concatenation" | "command_name":
                return self._joined(node)
            case "simple_expansion" | "expansion":
                return self._expansion(node)
            case "command_substitution" if (told := self.printed.get(node.start_byte)) is not None:
                return Word(told.rstrip("\n"))
            case "process_substitution":
                return Word(_text(node), known=False, content=self.printed.get(node.start_byte))
            case _:
                return Word(_text(node), known=False)

    def _joined(self, node: Node) -> Word:
        parts, at = [], node.start_byte
        for child in node.children:
            if child.type == '"':
                at = child.end_byte
                continue
            # Blanks between the parts of a string belong to no node.
            parts.append(Word(" " * (child.start_byte - at if node.type == "string" else 0)))
            parts.append(self.word(child) if child.is_named else Word(_text(child)))
            at = child.end_byte
        if not node.children:
            parts = [Word(_ESCAPE.sub(r"\1", _text(node)))]
        if sum(len(part.text) for part in parts) > _MAX_WORD:
            return Word(_text(node), known=False)
        return Word("".join(part.text for part in parts), all(part.known for part in parts))

    def _expansion(self, node: Node) -> Word:
        name, *others = [child for child in node.children if child.is_named] or [node]
        plain = _text(node) in (f"${_text(name)}", f"${{{_text(name)}}}")
        told = _text(node.children[2]) in _DEFAULTS if len(others) == 1 and node.child_count == 5 else False
        if name.type == "variable_name" and (plain or told):
            value = self.variables.get(_text(name))
            if value is not None:
                return Word(value)
            if told:
                return self.word(others[0])
        return Word(_text(node), known=False)


def _is_word(node: Node) -> bool:
    return node.type not in {"file_descriptor", "heredoc_start", "heredoc_body", "heredoc_end", "pipeline", "list"}


def _source(redirects: tuple[Redirect, ...]) -> Word | None:
    read = [redirect.target for redirect in redirects if not redirect.writes]
    return read[-1] if read else None


def _shown_file(command: SimpleCommand) -> Word | None:
    """Return the one file that a command prints as it is."""
    if len(command.words) == 2 and command.words[0].text == "cat":
        return command.words[1]
    return command.source if [word.text for word in command.words] == ["cat"] else None


def _decoded(text: str) -> str:
    try:
        return text.encode("latin-1", "backslashreplace").decode("unicode_escape")
    except UnicodeDecodeError:
        return text


def _text(node: Node) -> str:
    return (node.text or b"").decode("utf-8", "replace")
