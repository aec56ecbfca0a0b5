"""Notes that are HTML documents: kept raw, looked at only as far as restoring needs.

Nothing is rendered or fetched here, and nothing is sanitised: that is for whoever shows them.
"""

import html
import re
from typing import Final
from urllib.parse import unquote, urlsplit

from orchestrator.errors import ItemRejected
from orchestrator.items import Ident
from orchestrator.reasons import Reason
from workers.formats.notes import Note, marked_title, own_ident
from workers.formats.plain_text import checked_text

_LOOKS: Final = re.compile(
    rb"(?:\xef\xbb\xbf)?+\s*+(?:<\?xml[^<>]*+>\s*+)?+(?:<!--[^<>]*+>\s*+)*+"
    rb"<(?:!doctype\s++html|html|head|title|meta|body|article|section|div|span|p|h[1-6]|ul|ol|table)"
    rb"[\s>]",
    re.IGNORECASE,
)
_TITLE: Final = re.compile(r"<title(?:\s[^<>]*+)?+>([^<]*+)</title\s*+>", re.IGNORECASE)
_DOCUMENT: Final = re.compile(r"<html[\s>]", re.IGNORECASE)
_DOCUMENT_END: Final = re.compile(r"</html\s*+>", re.IGNORECASE)
_AFTER_OPENING: Final = re.compile(r"<head(?:\s[^<>]*+)?+>|<html(?:\s[^<>]*+)?+>", re.IGNORECASE)
_IDENT: Final = re.compile(r'<meta name="reinstate-ident" content="([^"<>]*+)">\n?+')
_SOURCE: Final = re.compile(
    r"<(?:img|audio|video|source|embed)\s[^<>]*?\bsrc\s*+=\s*+(?:\"([^\"<>]*+)\"|'([^'<>]*+)')",
    re.IGNORECASE,
)


def looks_like_html(data: bytes) -> bool:
    """Whether it starts as an HTML document or a piece of one does."""
    return _LOOKS.match(data) is not None


def read_html_note(data: bytes) -> Note:
    """The note that is one HTML document or a piece of one.

    Raises:
        ItemRejected: not UTF-8, control characters, or a document without its end.
    """
    text = checked_text(data)
    if _DOCUMENT.search(text) is not None and _DOCUMENT_END.search(text) is None:
        raise ItemRejected(Reason.CUT, "the document does not end")
    title = _TITLE.search(text)
    ident = _IDENT.search(text)
    return Note(
        form="html",
        title=html.unescape(title[1]).strip() if title is not None else "",
        body=_IDENT.sub("", text),
        ident=own_ident(html.unescape(ident[1])) if ident is not None else None,
        references=tuple(
            path
            for found in _SOURCE.findall(text)
            if (path := local_path(html.unescape("".join(found))))
        ),
    )


def marked_html(content: bytes, ident: Ident, mark: str) -> bytes:
    """The document under another ident, its title marked."""
    text = _IDENT.sub("", checked_text(content))
    title = _TITLE.search(text)
    meant = html.unescape(title[1]).strip() if title is not None else ""
    new_title = f"<title>{html.escape(marked_title(meant, mark))}</title>"
    meta = f'<meta name="reinstate-ident" content="{html.escape(ident)}">\n'
    if title is not None:
        text = text[: title.start()] + meta + new_title + text[title.end() :]
    else:
        opening = _AFTER_OPENING.search(text)
        at = opening.end() if opening is not None else 0
        text = text[:at] + meta + new_title + text[at:]
    return text.encode()


def local_path(reference: str) -> str:
    """The path of a file beside the note; empty where a reference leads elsewhere."""
    try:
        parts = urlsplit(reference.strip())
    except ValueError:
        return ""
    if parts.scheme or parts.netloc or parts.path.startswith("/") or not parts.path:
        return ""
    return unquote(parts.path)
