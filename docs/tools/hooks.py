"""What mkdocs cannot do by itself: generated references, and links that leave this folder."""

import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))

import cli_pages
import proto_pages
import python_pages
import typescript_pages
from documents import without_marks
from links import RepositoryLinks

ROOT = Path(__file__).resolve().parents[2]
# Documents of other folders that the site has too: path in the repository → page.
ADOPTED = {
    "services/README.md": "development/journey.md",
    "sdk/python/README.md": "reference/python/index.md",
    "sdk/typescript/README.md": "reference/typescript/index.md",
    "deploy/models/atelier-mini/README.md": "models/atelier-mini.md",
    "CHANGELOG.md": "changelog.md",
    "README.md": "readme.md",
}


def on_files(files: Files, config: Any) -> Files:  # noqa: ANN401 - mkdocs' own
    """Add the pages that are made from code, and the documents of other folders."""
    pages = {
        **proto_pages.pages(ROOT / "protos"),
        **cli_pages.pages(),
        **python_pages.pages(),
        **typescript_pages.pages(ROOT / "sdk" / "typescript"),
        **{page: (ROOT / path).read_text() for path, page in ADOPTED.items()},
    }
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: object) -> str:  # noqa: ANN401 - mkdocs' own
    """Lead links to where the site has them, and leave out how a block is tested."""
    links = RepositoryLinks(root=ROOT, adopted=ADOPTED)
    return without_marks(links.for_site(markdown, page.file.src_uri))
