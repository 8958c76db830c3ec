"""Turn text of a corpus or of an agent into file names."""

from __future__ import annotations

import hashlib
import re
import unicodedata

MAX_CHARS = 80

_SAFE = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9._-]{{0,{MAX_CHARS - 1}}}")
_UNSAFE_RUN = re.compile(r"[^A-Za-z0-9._]+")


def safe_name(name: str) -> str:
    """Return a file name of at most 80 ASCII characters for any text.

    A name of letters, digits, `.`, `_` and `-` that starts with neither `.` nor `-` stays as it is; any other becomes
    `<slug>-<10 hex of its hash>`, so that different texts keep different names. Its own results stay as they are.
    """
    if _SAFE.fullmatch(name):
        return name
    # surrogatepass: JSON text may hold half a surrogate pair, and such a name must become a file name too.
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=5).hexdigest()
    slug = _UNSAFE_RUN.sub("-", to_ascii(name)).lstrip("-.")[: MAX_CHARS - len(digest) - 1].rstrip("-.")
    return f"{slug or 'unnamed'}-{digest}"


def to_ascii(text: str) -> str:
    """Return the ASCII characters of a text, accented letters and compatibility forms reduced to their base."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
