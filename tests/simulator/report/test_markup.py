"""Elements hold what was put in, and texts never become markup."""

from __future__ import annotations

import doctest
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from headwater_simulator.report import markup
from headwater_simulator.report.markup import document, element, extend
from headwater_simulator.report.words import visible

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"))


class Parsed(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(TEXTS, TEXTS)
def test_any_text_comes_out_as_it_went_in(inside: str, attribute: str) -> None:
    parsed = Parsed(document(element("p", inside, element("b", "x"), inside, title=attribute)))
    assert [tag for tag, _ in parsed.tags] == ["p", "b"]
    assert parsed.tags[0][1] == {"title": visible(attribute)}
    assert parsed.text.strip() == f"{visible(inside)}x{visible(inside)}".strip()


def test_names_of_attributes_and_numbers_are_written_as_drawings_want_them() -> None:
    made = element("line", x1=1 / 3, class_="axis", aria_label="a")
    assert made.attrib == {"x1": "0.3", "class": "axis", "aria-label": "a"}


def test_children_keep_their_order_and_none_is_nothing() -> None:
    parent = element("p", "a", None, element("b"), "c")
    extend(parent, "d", element("i"), None, "e")
    assert document(parent) == "<!doctype html>\n<p>a<b></b>cd<i></i>e</p>\n"


def test_the_examples_hold() -> None:
    result = doctest.testmod(markup)
    assert (result.attempted, result.failed) == (1, 0)
