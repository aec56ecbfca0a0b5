"""HTML and ENML as the text that simple programs show."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.formats.html_text import plain_text


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ("<p>One</p><p>two &amp; three</p>", "One\ntwo & three"),
        ("<h1>Shop</h1><ul><li>milk<li>eggs</ul>", "Shop\n- milk\n- eggs"),
        (
            "<en-note><en-todo checked='true'/>Milk<br/><en-todo/>Eggs</en-note>",
            "[x] Milk\n[ ] Eggs",
        ),
        ("<head><title>T</title><style>p {}</style></head><body>Seen</body>", "Seen"),
        ("<script>alert(1)</script>Seen", "Seen"),
        ("a\n  b<br>c", "a b\nc"),
        ("", ""),
    ],
)
def test_a_document_is_shown_as_its_text(document, text):
    assert plain_text(document) == text


@settings(deadline=None, max_examples=100)
@given(st.text(st.sampled_from("<>/!-&;='\" apb\n"), max_size=60))
def test_nothing_that_calls_itself_html_ends_it(document):
    assert plain_text(document) == plain_text(document)
