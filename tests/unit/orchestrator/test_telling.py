"""What people are told: true, plain, and nobody in it."""

import re

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.books import Books
from orchestrator.lifecycle import CellState, UnitState
from orchestrator.telling import (
    FEW,
    Going,
    Place,
    ToppedUp,
    about,
    advice,
    banner,
    bulletin,
    claim_answer,
    how_many,
    of_unit,
    whole_percent,
)


def going(category="contacts", *, users=1000, done=0, state=CellState.OPEN, **more):
    return Going(category=category, state=state, users=users, done=done, **more)


def test_a_bulletin_says_how_far_what_next_and_what_was_lost():
    text = bulletin(
        [
            going(done=613, books=Books(lost=2137, quarantined=44)),
            going("calendar", state=CellState.CLOSED),
            going("high_scores", state=CellState.CLOSED),
        ]
    )
    assert "61 % of users have their contacts back, as far as we found them." in text
    assert "We are going on with contacts. Next: calendar, then high scores." in text
    assert "About 2,100 contacts that people had before could not be found" in text
    assert "About 40 contacts were found damaged." in text
    assert "have not begun" not in text  # what comes next says so


def test_a_bulletin_before_the_beginning_claims_nothing():
    text = bulletin([going(state=CellState.CLOSED)])
    assert "Nothing was restored yet" in text
    assert "Next: contacts." in text


def test_a_pause_is_said():
    assert "We have paused" in bulletin([going(done=5)], paused=True)


def test_everybody_is_everybody():
    text = bulletin([going(done=1000, state=CellState.SETTLED)])
    assert text == "Everybody has their contacts back, as far as we found them."


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_no_number_stands_for_a_few(part, rest):
    """Neither of those who have, nor of those who have not, of which one could be somebody."""
    told = how_many(part, part + rest)
    if 0 < part < FEW or 0 < rest < FEW:
        assert not re.search(r"\d", told)
    if rest:
        assert told != "Everybody"
    if part:
        assert told != "Nobody yet"


@given(st.integers(FEW, 10**7), st.integers(FEW, 10**7))
def test_a_share_is_never_more_than_it_is(part, rest):
    percent = whole_percent(part, part + rest)
    assert percent is not None
    assert 1 <= percent <= 99
    assert percent == 1 or percent * (part + rest) <= 100 * part


@given(st.integers(1, 10**9))
def test_numbers_of_items_are_rounded_to_two_digits(count):
    told = about(count)
    if count < FEW:
        assert told == "a few"
    else:
        said = int(told.removeprefix("about ").replace(",", ""))
        assert abs(said - count) <= max(5, count / 20)
        assert len(str(said).rstrip("0")) <= 2


# One user -----------------------------------------------------------------------------------------


@given(st.builds(Books, **dict.fromkeys(("restored", "merged", "lost"), st.integers(0, 5))))
def test_a_user_is_told_of_everything_that_is_not_as_it_was(books):
    told = " ".join(of_unit(9, books, UnitState.SETTLED))
    assert f"{books.restored + books.merged} of 9 are there now." in told
    assert ("found nowhere" in told) == bool(books.lost)
    assert ("combined" in told) == bool(books.merged)


def test_only_who_may_still_choose_is_told_to():
    books = Books(items=1, superseded=1)
    assert "you can choose" in " ".join(advice(books, UnitState.WAITING, may_choose=True))
    assert list(advice(books, UnitState.SETTLED, may_choose=False)) == []


def test_a_banner_is_two_sentences_at_most():
    assert banner(back=["contacts"], partly=[], rest=["notes"], over=False) == (
        "Back: your contacts. Still to come: your notes."
    )
    assert banner(back=[], partly=["contacts", "notes"], rest=[], over=True) == (
        "Not all is back of your contacts and notes."
    )
    assert banner(back=[], partly=[], rest=[], over=True) == ""


def test_an_answer_to_a_claim_follows_the_top_up():
    def told(top_up, back=0):
        places = {Place.RESTORED: 1, Place.FOUND: 1}
        return claim_answer(
            "calendar", had=2, sees=0, places=places, top_up=top_up, brought_back=back
        )

    assert "- 1 we brought back." in told(ToppedUp.NOT_YET)
    assert "- 1 more was found now; it can be brought back." in told(ToppedUp.NOT_YET)
    assert "it is being brought back" in told(ToppedUp.UNDER_WAY)
    assert told(ToppedUp.DONE, 1).endswith("- Of those found now, 1 is back.")
    assert "We know of no photos" in claim_answer("photos", had=0, sees=0, places={})
