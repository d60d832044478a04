"""Both SDKs have the same verbs, each in its language's spelling."""

import re
from pathlib import Path

import atelier

SOURCES = Path(__file__).resolve().parents[2] / "sdk" / "typescript" / "src"


def test_every_verb_of_the_python_client_is_one_of_the_typescript_client() -> None:
    text = "\n".join(path.read_text() for path in sorted(SOURCES.glob("*.ts")))
    methods = set(re.findall(r"^  (?:async )?\*?([a-z][A-Za-z]*)\(", text, flags=re.MULTILINE))
    verbs = {name for name in dir(atelier.AsyncClient) if not name.startswith("_")}

    missing = {verb for verb in verbs if _camel_case(verb) not in methods}

    assert verbs
    assert missing == set()


def _camel_case(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)
