"""Log lines with ANSI codes become safe HTML."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtmanager.console.ansi import render_ansi, strip_ansi


@pytest.mark.parametrize(
    ("line", "html"),
    [
        ("plain <b> & text", "plain &lt;b&gt; &amp; text"),
        ("\x1b[31mred\x1b[0m", '<span class="rtm-ansi-red">red</span>'),
        ("\x1b[1;92mgreen\x1b[m.", '<span class="rtm-ansi-green rtm-ansi-bold">green</span>.'),
        ("\x1b[1;31m\x1b[39mbold\x1b[22m.", '<span class="rtm-ansi-bold">bold</span>.'),
        ("\x1b[38;5;196mpalette\x1b[48;2;1;2;31mtrue", "palettetrue"),
        ("\x1b[2Jcleared\x1b]0;title\x07 \x1b(Bcharset", "cleared charset"),
        ("\x1b[31", "31"),
        ("\x1b[31m<script>", '<span class="rtm-ansi-red">&lt;script&gt;</span>'),
        ("tab\tbell\x07", "tab\tbell"),
    ],
)  # fmt: skip
def test_colours_become_classes_and_all_other_codes_are_removed(line: str, html: str) -> None:
    assert render_ansi(line) == html


@given(st.text(alphabet=st.sampled_from("\x1b\x9b[]m;:0123456789<>&\"'aJ\x07\x00")))
def test_any_text_becomes_only_spans_of_known_classes_around_escaped_text(text: str) -> None:
    html = render_ansi(text)

    without_spans = re.sub(r'<span class="rtm-ansi-[a-z]+(?: rtm-ansi-bold)?">|</span>', "", html)
    assert not re.search(r"""[<>"'\x1b\x00]""", without_spans)
    assert "\x1b" not in strip_ansi(text)
