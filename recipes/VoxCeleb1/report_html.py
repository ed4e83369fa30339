"""Pieces of HTML whose text is escaped unless it is HTML already."""

import html
from collections.abc import Sequence
from typing import NamedTuple


class Html(str):
    """Text that is HTML already: it is not escaped again."""


class Cell(NamedTuple):
    """What a table shows in one place, and what it is sorted by."""

    content: object
    sort_value: float | str


def to_html(value: object) -> Html:
    """Escape a value's text, but HTML.

    Example
    -------
    >>> to_html("a<b"), to_html(Html("<b>1</b>"))
    ('a&lt;b', '<b>1</b>')
    """
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def element(tag: str, *content: object, **attributes: object) -> Html:
    """An element around its content; `class_` stands for class.

    Example
    -------
    >>> element("p", "1 < 2", element("b", "so"), class_="note")
    '<p class="note">1 &lt; 2<b>so</b></p>'
    """
    inside = "".join(to_html(part) for part in content)
    return Html(f"{start_tag(tag, **attributes)}{inside}</{tag}>")


def start_tag(tag: str, **attributes: object) -> Html:
    """A tag with attributes; underscores in their names become hyphens.

    Example
    -------
    >>> start_tag("td", data_sort="a\\"b")
    '<td data-sort="a&quot;b">'
    """
    words = (
        f' {name.rstrip("_").replace("_", "-")}="{to_html(value)}"'
        for name, value in attributes.items()
    )
    return Html(f"<{tag}{''.join(words)}>")


def table(
    caption: str,
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    sorts: Sequence[str] = (),
) -> Html:
    """A table that scrolls within itself where it is too wide.

    Arguments
    ---------
    caption : str
        What it shows.
    header : Sequence[str]
        Of each column; the first one names the row.
    rows : Sequence[Sequence[object]]
        Text, HTML or `Cell`s, one for each column.
    sorts : Sequence[str]
        "number", "text" or "" of each column, for the page's script; none:
        the table is not sorted.

    Returns
    -------
    table : Html

    Example
    -------
    >>> shown = table("Letters", ["letter", "place"], [["a", Cell("1st", 1)]])
    >>> '<tr><th scope="row">a</th><td data-sort="1">1st</td></tr>' in shown
    True
    """
    sorts = sorts or [""] * len(header)
    head = [
        element(
            "th", name, scope="col", **({"data_kind": kind} if kind else {})
        )
        for name, kind in zip(header, sorts, strict=True)
    ]
    body = []
    for row in rows:
        cells = []
        for place, value in enumerate(row):
            tag, attributes = "td", {}
            if place == 0:
                tag, attributes = "th", {"scope": "row"}
            if isinstance(value, Cell):
                attributes["data_sort"] = value.sort_value
                value = value.content
            cells.append(element(tag, value, **attributes))
        body.append(element("tr", *cells))
    inside = element(
        "table",
        element("caption", caption),
        element("thead", element("tr", *head)),
        element("tbody", *body),
        **({"class_": "sortable"} if any(sorts) else {}),
    )
    return element(
        "div",
        inside,
        class_="scroll",
        role="region",
        tabindex="0",
        aria_label=f"Table: {caption}",
    )


def facts(rows: dict[str, object]) -> Html:
    """A list of names and values; what is None is not known.

    Example
    -------
    >>> facts({"seed": 1})
    '<dl><div><dt>seed</dt><dd>1</dd></div></dl>'
    """
    return element(
        "dl",
        *(
            element(
                "div",
                element("dt", name),
                element("dd", "not known" if value is None else value),
            )
            for name, value in rows.items()
        ),
    )


def section(name: str, title: str, *content: object) -> Html:
    """A part of the page, with its heading."""
    heading = element("h2", title, id=f"{name}-title")
    return element(
        "section", heading, *content, id=name, aria_labelledby=f"{name}-title"
    )


def note(*content: object) -> Html:
    """A paragraph in small print."""
    return element("p", *content, class_="note")
