"""Helper: reads a page of the console as a browser and a screen reader would."""

from html.parser import HTMLParser

_VOID = {"meta", "link", "input", "img", "br", "hr"}
_FIELDS = ("input", "textarea", "select", "progress", "meter")


class Page(HTMLParser):
    """What is wrong with a page, and what is in it.

    Attributes:
        unnamed: Fields that no label names.
        foreign: What comes from elsewhere, or would run within the page.
        unclosed: Elements that are not closed where they were opened.
        twice: Ids that two elements have.
        headings: The text of each `h1`.
        links: Where links go.
        tags: All elements.
        forms: Of each form its inputs, with their values.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.foreign: list[str] = []
        self.unclosed: list[str] = []
        self.twice: list[str] = []
        self.headings: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.forms: list[dict[str, str]] = []
        self._ids: set[str] = set()
        self._open: list[str] = []
        self._labelled: set[str] = set()
        self._fields: list[dict[str, str | None]] = []
        self.feed(page)
        self.unclosed += self._open
        self.unnamed = [
            str(field)
            for field in self._fields
            if field.get("id") not in self._labelled and field.get("aria-labelledby") not in self._ids
        ]

    @property
    def faults(self) -> list[object]:
        """All that is wrong."""
        return [*self.unnamed, *self.foreign, *self.unclosed, *self.twice, *self.headings[1:]]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        fields = dict(attrs)
        self.tags.append(tag)
        if (name := fields.get("id")) is not None:
            self.twice += [name] if name in self._ids else []
            self._ids.add(name)
        if tag == "h1":
            self.headings.append("")
        if tag == "form":
            self.forms.append({})
        if tag == "input" and "form" in self._open:
            self.forms[-1][fields.get("name") or ""] = fields.get("value") or ""
        if tag == "a":
            self.links.append(fields.get("href") or "")
        self.foreign += [url for name in ("src", "href", "action") if (url := fields.get(name)) and "//" in url]
        if any(name.startswith("on") or name == "style" for name in fields):
            self.foreign.append(tag)
        if tag == "script" and not (fields.get("src") or "").startswith("/console/files/"):
            self.foreign.append(tag)
        if tag == "label":
            self._labelled.add(fields.get("for") or "")
        if tag in _FIELDS and fields.get("type") != "hidden" and "label" not in self._open:
            self._fields.append(fields)
        if tag not in _VOID:
            self._open.append(tag)

    def handle_data(self, data: str) -> None:
        if "h1" in self._open:
            self.headings[-1] += data

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.unclosed.append(tag)
