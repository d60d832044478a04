"""The fenced blocks of our documents, and what is to happen with each.

A block of shell commands says in its first line whether a test runs it: ```` ```sh run ```` or
```` ```sh not run: the reason ````. Output, trees and the like are ```` ```text ````.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^( *)```(?P<info>[^\n`]*)\n(?P<text>.*?)^\1```", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"^( *```\w+) [^\n]*$", re.MULTILINE)
_SHELLS = {"", "sh", "bash", "shell", "console"}
_NOT_RUN = "not run: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block of shell commands."""

    document: Path
    line: int
    language: str
    mark: str
    commands: str

    @property
    def runs(self) -> bool:
        return self.mark == "run"

    @property
    def reason(self) -> str:
        """Why no test runs it; empty when nobody said so."""
        return self.mark.removeprefix(_NOT_RUN) if self.mark.startswith(_NOT_RUN) else ""


def shell_blocks(document: Path) -> Iterator[Block]:
    """Find the blocks that hold commands, or might."""
    text = document.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        language, _, mark = found["info"].strip().partition(" ")
        if language in _SHELLS:
            yield Block(
                document=document,
                line=text.count("\n", 0, found.start()) + 1,
                language=language,
                mark=mark.strip(),
                commands=found["text"],
            )


def without_marks(markdown: str) -> str:
    """Leave out how a block is tested: readers need not know."""
    return _MARK.sub(r"\1", markdown)
