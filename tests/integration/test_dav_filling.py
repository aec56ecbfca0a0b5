"""Address books that are made with all their cards in one request, where a server does that."""

import contextlib

import msgspec
import pytest

from orchestrator.items import UserId
from orchestrator.ports import Fate
from tests.conformance.target_example import create
from tests.integration.test_dav_target import Installation, card
from workers.categories import contacts

ANNA = UserId("anna")
CARDS = 20


@pytest.fixture(params=["radicale", "xandikos"])
def installation(request, tmp_path):
    server = request.getfixturevalue(f"{request.param}_server")
    server.start()
    found = Installation(server, tmp_path)
    with contextlib.closing(found.service.work):
        yield found


def writes(target, *, owner=ANNA, note="", bad=()):
    found = []
    for number in range(CARDS):
        content = card(f"c{number}", f"{owner} {number}", note=note).encode()
        seen = contacts.KIND().recognise(owner, content)
        write = create(target, owner, f"c{number}", b"no card" if number in bad else content)
        item = msgspec.structs.replace(write.item, digest=seen.digest)
        found.append(msgspec.structs.replace(write, item=item))
    return found


def asked(target, monkeypatch):
    """Methods and paths of all calls from now on."""
    server = target._opened().server
    calls, ask = [], server.ask

    async def noted(method, path, **given):
        calls.append((method, path))
        return await ask(method, path, **given)

    monkeypatch.setattr(server, "ask", noted)
    return calls


def puts(calls):
    return [path for method, path in calls if method == "PUT" and "reinstate-probe" not in path]


def test_a_new_address_book_is_filled_at_once_where_the_server_does_that(installation, monkeypatch):
    with contextlib.closing(installation.target()) as target:
        calls = asked(target, monkeypatch)
        some = [*writes(target), *writes(target, owner=UserId("bert"))]
        answers = target.write("contacts", some)
        assert {answer.fate for answer in answers} == {Fate.DONE}
        at_once = installation.server.kind == "radicale"
        assert len(puts(calls)) == (2 if at_once else 2 * CARDS)
        entries = {entry.ref: entry for entry in target.survey("contacts", [ANNA])}
        assert {w.ref: a.version for w, a in zip(some[:CARDS], answers, strict=False)} == {
            ref: entry.version for ref, entry in entries.items()
        }
        again = target.write("contacts", writes(target, note="again"))
        assert {answer.fate for answer in again} == {Fate.CONFLICT}
    contents = installation.contents("anna", "contacts")
    assert len(contents) == CARDS
    assert not any(b"again" in content for content in contents.values())


@pytest.mark.guarantee(5)
def test_an_address_book_that_somebody_made_meanwhile_is_never_replaced(installation, monkeypatch):
    with contextlib.closing(installation.target()) as target:
        target.write("contacts", writes(target, owner=UserId("bert")))  # it knows what it may do
        assert list(target.survey("contacts", [ANNA])) == []
        with contextlib.closing(installation.target()) as other:
            theirs = writes(other, note="hers")[:1]
            assert other.write("contacts", theirs)[0].fate is Fate.DONE
        calls = asked(target, monkeypatch)
        answers = target.write("contacts", writes(target))
    assert [answer.fate for answer in answers] == [Fate.CONFLICT] + [Fate.DONE] * (CARDS - 1)
    contents = installation.contents("anna", "contacts")
    assert len(contents) == CARDS
    assert b"NOTE:hers" in contents[theirs[0].ref]
    assert len(puts(calls)) >= CARDS


def test_a_card_that_cannot_be_harms_no_other_of_a_new_address_book(installation):
    with contextlib.closing(installation.target()) as target:
        answers = target.write("contacts", writes(target, bad={3, 7}))
    assert [n for n, answer in enumerate(answers) if answer.fate is Fate.REFUSED] == [3, 7]
    assert len(installation.contents("anna", "contacts")) == CARDS - 2
