"""The production page, followed on a bare Debian: a game starts as a user without root, and can write its state."""

import re
from pathlib import Path

import pytest

from tests.bare.machine import run_in_bare_debian
from tests.paths import ROOT

_LONGEST_SECONDS = 1200
_HERE = Path(__file__).parent
# The prompt for the password reads the terminal. Django takes it from its own variable where there is none.
_PROMPT = "rtmanager createsuperuser"
_NO_PROMPT = "DJANGO_SUPERUSER_PASSWORD='a long first password' rtmanager createsuperuser --no-input"


def commands_of_the_page() -> str:
    """The blocks between the two marks of the page, unchanged but for the prompt."""
    page = (ROOT / "docs" / "production.md").read_text(encoding="utf-8")
    part = page.partition("<!-- install:begin -->")[2].partition("<!-- install:end -->")[0]
    blocks = "\n".join(re.findall(r"^```sh\n(.*?)^```$", part, re.MULTILINE | re.DOTALL))
    assert blocks.count(_PROMPT) == 1
    return blocks.replace(_PROMPT, _NO_PROMPT)


@pytest.mark.timeout(_LONGEST_SECONDS + 300)
def test_the_commands_of_the_page_start_a_game_that_writes_its_state(bare_tools: None) -> None:
    del bare_tools
    before, after = ((_HERE / f"{part}_production.sh").read_text(encoding="utf-8") for part in ("before", "after"))

    outcome = run_in_bare_debian(
        "bookworm", f"{before}\n{commands_of_the_page()}\n{after}", timeout_seconds=_LONGEST_SECONDS
    )

    assert outcome.code == 0, outcome.output[-6000:]
    facts = dict(line.split(":", 1) for line in outcome.output.splitlines()[-60:] if ":" in line)
    assert '"status":"running"' in facts["game"]
    assert facts["state"].strip() == "rtmanager:rtmanager 750 rtmanager"
    assert facts["users"].split() == ["3", "rtmanager", "1", "rtmanager-gateway"]
    assert facts["tls"].strip() == "200"
    assert facts["admin"].split() == ["admin", "True"]
