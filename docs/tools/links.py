"""Links of documents that stand in a repository, turned into links of a site."""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?://|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryLinks:
    """Knows which documents of the repository the site has, and where."""

    root: Path
    adopted: Mapping[str, str]

    def for_site(self, markdown: str, page: str) -> str:
        """Rewrite a page's links; one to code, which the site does not have, becomes its name."""
        origins = {site: origin for origin, site in self.adopted.items()}
        origin = origins.get(page, f"docs/{page}")

        def rewritten(link: re.Match[str]) -> str:
            image, text, target, anchor = link.groups()
            path = posixpath.normpath(posixpath.join(posixpath.dirname(origin), target))
            if path in self.adopted:
                place = self.adopted[path]
            elif path.startswith("docs/"):
                place = path.removeprefix("docs/")
            elif (self.root / path).exists():
                return text if text.startswith("`") else f"`{path}`" if text == target else text
            else:
                # Left as it is: mkdocs finds no such page, and says so.
                return link[0]
            relative = posixpath.relpath(place, posixpath.dirname(page) or ".")
            return f"{image}[{text}]({relative}{anchor or ''})"

        return _LINK.sub(rewritten, markdown)
