"""What an HTML or ENML document says, as plain text: for programs that show nothing else."""

from html.parser import HTMLParser
from typing import Final

_BLOCKS: Final = frozenset(
    {"address", "article", "aside", "blockquote", "body", "br", "dd", "div", "dl", "dt", "en-note"}
    | {"h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "section", "table", "tr"}
    | {"ul"}
)
_UNSEEN: Final = frozenset({"script", "style", "title", "head"})


def plain_text(document: str) -> str:
    """Its text, a line for each block, list entries and boxes to tick marked.

    Raises nothing, whatever the document is.
    """
    reader = _Reader()
    reader.feed(document)
    reader.close()
    lines = (" ".join(line.split()) for line in "".join(reader.said).split("\n"))
    return "\n".join(line for line in lines if line)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.said: list[str] = []
        self.unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNSEEN:
            self.unseen += 1
        if tag in _BLOCKS:
            self.said.append("\n")
        if tag == "li":
            self.said.append("- ")
        elif tag == "en-todo":
            self.said.append("[x] " if ("checked", "true") in attrs else "[ ] ")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN:
            self.unseen = max(0, self.unseen - 1)
        if tag in _BLOCKS:
            self.said.append("\n")

    def handle_data(self, data: str) -> None:
        if not self.unseen:
            self.said.append(data.replace("\n", " "))
