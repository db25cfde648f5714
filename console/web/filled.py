"""Fill a form of a page that was rendered with what somebody had typed into it, and say beside it what was wrong.

A page's own text is changed nowhere else, so a form needs nothing in its template to keep what was typed. Passwords and
one-time codes are left empty, and what is hidden stays as the page has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from html.parser import HTMLParser
from typing import Final

_NOT_TYPED: Final = frozenset(
    {"answer", "ask", "case", "digest", "lift", "order", "page", "remove", "view", "what"}
)
"""Names of hidden fields and of buttons: they say what is sent, and nobody typed them."""
_SECRET: Final = frozenset({"code", "csrf", "new", "password"})
"""Names of fields that are shown nowhere again, whatever the form."""
_FIXED: Final = frozenset({"button", "checkbox", "hidden", "image", "password", "radio", "reset", "submit"})
"""Kinds of input that hold no text of somebody's."""
_Attributes = list[tuple[str, str | None]]


def shown(typed: Mapping[str, str]) -> dict[str, str]:
    """Leave out what must be shown nowhere again: passwords, one-time codes and the token of the form."""
    return {name: value for name, value in typed.items() if name not in _SECRET}


def written(typed: Mapping[str, str]) -> dict[str, str]:
    """Give what somebody wrote, by the name of its field, without what the page itself had put into the form."""
    return {n: value for n, value in shown(typed).items() if value.strip() and n not in _NOT_TYPED}


def filled(html: str, address: str, typed: Mapping[str, str], note: str) -> str | None:
    """Return the page with its form for `address` filled and `note` (HTML) before it; None where it has no such form.

    Of several forms with that address the one is filled that has the most in common with what was sent. What is folded
    around it is opened.
    """
    page = _Page(html)
    forms = [f for f in page.forms if address in f.addresses]
    if not forms:
        return None
    form = min(forms, key=lambda f: f.unlike(typed))
    edits = [(form.start, form.start, note)]
    edits += [(*tag.place, tag.changed(("open", None))) for tag in form.folded]
    for control in form.controls:
        edits += control.edits(shown(typed))
    for start, end, text in sorted(edits, reverse=True):
        html = html[:start] + text + html[end:]
    return html


def above(html: str, note: str) -> str:
    """Return the page with `note` (HTML) at its top, where it has no such form any more."""
    page = _Page(html)
    return html[: page.top] + note + html[page.top :]


@dataclass(slots=True)
class _Tag:
    name: str
    attributes: _Attributes
    place: tuple[int, int]

    def get(self, name: str) -> str | None:
        return next((value or "" for one, value in self.attributes if one == name), None)

    def changed(self, *given: tuple[str, str | None], without: str = "") -> str:
        """Write the tag with other attributes in the place of those of the same name."""
        names = {without, *(name for name, _ in given)}
        kept = [(n, v) for n, v in self.attributes if n not in names]
        said = (n if v is None else f'{n}="{escape(v)}"' for n, v in (*kept, *given))
        return f"<{' '.join((self.name, *said))}>"


@dataclass(slots=True)
class _Control:
    """A field of a form. `text` is where the text of a text area stands, `options` what a list has to choose from."""

    tag: _Tag
    kind: str
    text: tuple[int, int] = (0, 0)
    options: list[tuple[_Tag, str]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.tag.get("name") or ""

    def edits(self, typed: Mapping[str, str]) -> list[tuple[int, int, str]]:
        """Say which places of the page are written anew."""
        value = typed.get(self.name)
        if self.kind in ("checkbox", "radio"):
            return [(*self.tag.place, _marked(self.tag, "checked", value == (self.tag.get("value") or "on")))]
        if value is None or self.kind in _FIXED or "one-time-code" in (self.tag.get("autocomplete") or ""):
            return []
        if self.kind == "textarea":
            return [(*self.text, "\n" + escape(value))]  # a browser leaves the first line break out
        if self.kind == "select":
            return [(*tag.place, _marked(tag, "selected", value == own)) for tag, own in self.options]
        return [(*self.tag.place, self.tag.changed(("value", value)))]


def _marked(tag: _Tag, mark: str, on: bool) -> str:
    return tag.changed((mark, None)) if on else tag.changed(without=mark)


@dataclass(slots=True)
class _Form:
    start: int
    addresses: set[str]
    folded: list[_Tag]
    controls: list[_Control] = field(default_factory=list)

    def unlike(self, typed: Mapping[str, str]) -> tuple[int, int]:
        """Count what was sent and is no field here, and hidden fields and buttons that would send something else."""
        names = {control.name for control in self.controls}
        fixed = [c for c in self.controls if c.kind in ("hidden", "submit") and c.name not in ("", "csrf")]
        values: dict[str, set[str]] = {}
        for control in fixed:
            values.setdefault(control.name, set()).add(control.tag.get("value") or "")
        other = sum(typed.get(name, "") not in some for name, some in values.items())
        return len(typed.keys() - names), other


class _Page(HTMLParser):
    """Where the forms of a page stand, and where its main part begins."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.forms: list[_Form] = []
        self.top = 0
        self._lines = [0]
        for line in html.split("\n"):
            self._lines.append(self._lines[-1] + len(line) + 1)
        self._folded: list[_Tag] = []
        self._form: _Form | None = None
        self._reads = False
        self.feed(html)
        self.close()

    @property
    def _at(self) -> int:
        line, column = self.getpos()
        return self._lines[line - 1] + column

    def handle_starttag(self, tag: str, attributes: _Attributes) -> None:
        start = self._at
        found = _Tag(tag, attributes, (start, start + len(self.get_starttag_text() or "")))
        if tag == "main":
            self.top = found.place[1]
        elif tag == "details":
            self._folded.append(found)
        elif tag == "form" and found.get("method") == "post":
            self._form = _Form(start, {found.get("action") or ""}, list(self._folded))
            self.forms.append(self._form)
        elif self._form is not None:
            self._control(self._form, found)

    def _control(self, form: _Form, tag: _Tag) -> None:
        if tag.name == "button":
            if (address := tag.get("formaction")) is not None:
                form.addresses.add(address)
            form.controls.append(_Control(tag, tag.get("type") or "submit"))
        elif tag.name == "input":
            form.controls.append(_Control(tag, tag.get("type") or "text"))
        elif tag.name in ("select", "textarea"):
            form.controls.append(_Control(tag, tag.name, (tag.place[1], tag.place[1])))
        elif tag.name == "option":
            form.controls[-1].options.append((tag, tag.get("value") or ""))
            self._reads = tag.get("value") is None

    def handle_data(self, data: str) -> None:
        if self._reads and self._form is not None:
            tag, text = self._form.controls[-1].options[-1]
            self._form.controls[-1].options[-1] = tag, (text + data).strip()

    def handle_endtag(self, tag: str) -> None:
        if tag == "details" and self._folded:
            self._folded.pop()
        elif tag == "form":
            self._form = None
        elif tag == "option":
            self._reads = False
        elif tag == "textarea" and self._form is not None:
            control = self._form.controls[-1]
            control.text = control.text[0], self._at
