"""Check that built pages load nothing from other servers: ``outside_requests.py FOLDER``."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

_OUTSIDE = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed)\b[^>]*\bsrc\s*=\s*["']?((?:https?:)?//[^"'\s>]+)
    | <link\b(?![^>]*\brel=["']?canonical)[^>]*\bhref\s*=\s*["']?((?:https?:)?//[^"'\s>]+)
    | (?:@import|url\()\s*["']?((?:https?:)?//[^"')\s]+)""",
    re.VERBOSE | re.IGNORECASE,
)


def outside_requests(text: str) -> list[str]:
    """Addresses of other servers from which a page or a style sheet loads something.

    Links that a reader follows do not count.

    Args:
        text: HTML or CSS.
    """
    return [next(filter(None, found)) for found in _OUTSIDE.findall(text)]


def requests_in(folder: Path) -> Iterator[str]:
    """File and address of each such request in all pages and style sheets.

    Args:
        folder: Folder of the built site.
    """
    for file in sorted(folder.rglob("*")):
        if file.suffix in (".html", ".css"):
            text = file.read_text("utf-8")
            yield from (f"{file}: {address}" for address in outside_requests(text))


if __name__ == "__main__":
    if not (Path(sys.argv[1]) / "index.html").exists():
        sys.exit(f"{sys.argv[1]} contains no site")
    sys.exit("\n".join(requests_in(Path(sys.argv[1]))) or 0)
