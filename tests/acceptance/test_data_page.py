import re
from pathlib import Path

from orchestrator import catalogue
from orchestrator.reasons import Reason

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text()


def named_under(heading):
    section = PAGE.split(f"\n{heading}\n", 1)[1]
    table = re.split(r"\n#", section, maxsplit=1)[0]
    return dict(re.findall(r"(?m)^\| `([a-z0-9.-]+)` \| (.*?) \|", table))


def test_the_page_names_every_category_with_its_repairs_and_no_other():
    headings = re.findall(r"(?m)^### (.*)$", PAGE)
    assert sorted(", ".join(headings).split(", ")) == sorted(catalogue.categories())
    for heading in headings:
        for name in heading.split(", "):
            kind = catalogue.category_kind(name)
            said = named_under(f"### {heading}")
            assert list(said) == list(kind.repairs)
            assert {repair for repair, text in said.items() if "Lossy" in text} == kind.lossy


def test_the_page_names_every_reason_of_quarantine_with_what_users_are_told():
    assert list(named_under("## Reasons of quarantine")) == [str(reason) for reason in Reason]
    assert all(reason.for_user in PAGE for reason in Reason)
