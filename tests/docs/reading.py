"""What the documents promise, taken out of their text: code blocks, transcripts, commands, paths.

Pure functions. In a transcript `> ` is what the reader types, `< ` what the server answers; `…`
stands for anything, digits in texts for any digits, and times and expiries for any number.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

ELISION: Final = "…"
MOMENTS: Final = frozenset({"ts", "now", "exp", "retry_ms"})
PATH_SUFFIXES: Final = (".py", ".md", ".sql", ".toml", ".png", ".css", ".js")

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_QUOTED = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block and the language it names; none is an empty text."""

    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a transcript: sent by the reader, or awaited from the server."""

    is_sent: bool
    frame: str


def blocks(document: str) -> list[Block]:
    return [Block(language, text) for language, text in _BLOCK.findall(document)]


def prose(document: str) -> str:
    """The document without its fenced blocks."""
    return _BLOCK.sub("", document)


def transcript(block: Block) -> list[Line]:
    """The frames of a block in order; empty for a block that is none."""
    return [
        Line(line[0] == ">", line[2:])
        for line in block.text.splitlines()
        if line.startswith(("> ", "< "))
    ]


def commands(block: Block) -> Iterator[list[str]]:
    """The words of each line of a shell block, without comments."""
    for line in block.text.splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield words


def quoted(document: str) -> list[str]:
    """Everything between backticks on one line, outside of fenced blocks."""
    return _QUOTED.findall(prose(document))


def links(document: str) -> list[str]:
    """Link targets that are not on another site."""
    return [target for target in _LINK.findall(document) if "://" not in target]


def paths(document: str, folders: frozenset[str]) -> list[str]:
    """What is quoted and looks like a file or folder of the repository: it has a known suffix, or
    begins with one of its folders."""
    words = [word for text in quoted(document) for word in text.split()]
    return [
        word
        for word in words
        if re.fullmatch(r"[\w.-]+(/[\w.-]+)*/?", word)
        and (word.endswith(PATH_SUFFIXES) or ("/" in word and word.split("/")[0] in folders))
    ]


def anchor(heading: str) -> str:
    """The fragment that leads to a heading, as GitHub makes it."""
    kept = re.sub(r"[^\w\- ]", "", heading.lower())
    return kept.strip().replace(" ", "-")


def anchors(document: str) -> set[str]:
    return {anchor(text) for text in re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)}


# ---------------------------------------------------------------------------------- comparing


def pattern(frame: str) -> Any:
    """A documented frame as a value: what was left out becomes the key or text `…`."""
    completed = frame.replace(f",{ELISION}}}", f',"{ELISION}":0}}')
    return json.loads(completed.replace(f"{{{ELISION}}}", f'{{"{ELISION}":0}}'))


def differences(expected: Any, found: Any, at: str = "frame") -> list[str]:
    """Where a frame is not as documented, in words; empty if it is."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return _differing_objects(expected, found, at)
    if type(expected) is not type(found):
        return [f"{at}: {found!r} is of another type than {expected!r}"]
    if at.rpartition(".")[2] in MOMENTS:
        return [] if found > 0 else [f"{at}: {found!r} is no moment"]
    if isinstance(expected, str):
        parts = re.split(f"([0-9]+|{ELISION})", expected)
        wildcards = {ELISION: ".+"} | {part: "[0-9]+" for part in parts if part.isdecimal()}
        shape = "".join(wildcards.get(part, re.escape(part)) for part in parts)
        return [] if re.fullmatch(shape, found) else [f"{at}: {found!r} is not like {expected!r}"]
    return [] if expected == found else [f"{at}: {found!r} is not {expected!r}"]


def _differing_objects(expected: dict[str, Any], found: dict[str, Any], at: str) -> list[str]:
    is_open = ELISION in expected
    keys = [key for key in expected if key != ELISION]
    wrong = [f"{at}: {key} is missing" for key in keys if key not in found]
    wrong += [f"{at}: {key} is too much" for key in found if key not in expected and not is_open]
    for key in keys:
        if key in found:
            wrong += differences(expected[key], found[key], f"{at}.{key}")
    return wrong
