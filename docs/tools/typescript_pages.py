"""The reference of the TypeScript SDK, by typedoc; a sentence where node is missing."""

import json
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

_PAGE = "reference/typescript/reference.md"
# typedoc numbers headings of the same name in another way than the site does.
_DOUBLE_ANCHOR = re.compile(r"\[([^\]]*)\]\(#[^)]*-\d+\)")


def pages(sdk: Path) -> Mapping[str, str]:
    """Make the page: path → Markdown."""
    typedoc = sdk / "node_modules" / ".bin" / "typedoc"
    if not typedoc.exists():
        print("typedoc is not here (npm is needed): the TypeScript reference is left out")
        return {_PAGE: "# TypeScript reference\n\nIt is made where Node.js is installed.\n"}
    with tempfile.TemporaryDirectory() as folder:
        options = Path(folder, "typedoc.json")
        options.write_text(json.dumps(_options(sdk, Path(folder, "out"))))
        subprocess.run([typedoc, "--options", options], check=True, cwd=sdk)
        text = Path(folder, "out", "globals.md").read_text()
        return {_PAGE: _DOUBLE_ANCHOR.sub(r"\1", text)}


def _options(sdk: Path, output: Path) -> Mapping[str, object]:
    return {
        "entryPoints": [str(sdk / "src" / "index.ts")],
        "tsconfig": str(sdk / "tsconfig.json"),
        "plugin": ["typedoc-plugin-markdown"],
        "outputFileStrategy": "modules",
        "entryFileName": "globals.md",
        "out": str(output),
        "readme": "none",
        "hideBreadcrumbs": True,
        "hidePageHeader": True,
        "disableSources": True,
        "excludeInternal": True,
        "excludePrivate": True,
        "excludeExternals": True,
        "treatWarningsAsErrors": False,
        "logLevel": "Error",
    }
