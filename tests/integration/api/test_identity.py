"""Tokens and browser sessions: what opens, what does not, and for how long."""

import hashlib
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.identity import sessions
from orchestrator.identity.roles import Role
from orchestrator.identity.tokens import LENGTH, new_token, well_formed
from orchestrator.ledger.schema import browser_session, token
from tests.site import ADDRESS, Client, Site, site

__all__ = ["site"]

OURS = {"Origin": ADDRESS}


def bearer(site: Site, text: str) -> Client:
    return Client(site, {"Authorization": text})


def made(site: Site, **how: object) -> tuple[str, str]:
    text, row = site.installation.tokens.create(
        **{"holder": "kim", "role": Role.VIEWER, "who": "tests", **how}
    )
    return text, row.id


# Tokens -------------------------------------------------------------------------------------------


@given(st.binary(min_size=32, max_size=32), st.integers(4, LENGTH - 1), st.sampled_from("0aZ_"))
@settings(deadline=None, max_examples=200)
def test_a_mistyped_token_is_told_from_a_token(randomness, place, letter):
    text = new_token(lambda _size: randomness)
    assert well_formed(text)
    other = text[:place] + letter + text[place + 1 :]
    assert well_formed(other) == (other == text)
    assert not well_formed(text[:-1])
    assert not well_formed(text + "0")


def test_a_token_carries_256_bits():
    assert len({new_token() for _ in range(100)}) == 100
    assert new_token(lambda size: b"\xff" * size) != new_token(lambda size: b"\xfe" * size)
    assert len(new_token(lambda size: b"\xff" * size)) == len(new_token(lambda _: bytes(32)))


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Basic a2ltOng=", "Bearer rst_x", "Token {}", "Bearer {}0", "{}"],
)
def test_what_is_no_token_opens_nothing(site, header):
    text, _ = made(site)
    response = bearer(site, header.format(text)).get("/api/v1/me")
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"


def test_a_token_ends_when_it_is_revoked(site):
    text, number = made(site)
    kim, ada = bearer(site, f"Bearer {text}"), site.client("admin")
    assert kim.get("/api/v1/me").json()["holder"] == "kim"
    assert ada.delete(f"/api/v1/tokens/{number}").status_code == 204
    assert ada.delete(f"/api/v1/tokens/{number}").status_code == 204
    assert kim.get("/api/v1/me").status_code == 401
    rows = {row["id"]: row for row in ada.get("/api/v1/tokens").json()["rows"]}
    assert rows[number]["revoked"]
    assert rows[number]["last_used"]


def test_a_token_ends_when_its_days_are_over(site):
    text, _ = made(site, days=1)
    kim = bearer(site, f"Bearer {text}")
    assert kim.get("/api/v1/me").status_code == 200
    site.service.clock.advance(hours=25)
    assert kim.get("/api/v1/me").status_code == 401


def test_the_ledger_keeps_no_token_and_no_plain_hash_of_one(site):
    text, number = made(site)
    with site.service.ledger.read() as connection:
        row = connection.execute(token.select().where(token.c.id == number)).one()
    assert text not in repr(row)
    assert row.hash == site.installation.tokens.hash(text)
    assert row.hash != hashlib.sha256(text.encode()).digest()


def test_a_token_of_another_installation_opens_nothing(site, tmp_path):
    other = Site(tmp_path / "other")
    text, _ = made(other)
    other.close()
    assert bearer(site, f"Bearer {text}").get("/api/v1/me").status_code == 401


@pytest.mark.parametrize("holder", ["", "   ", "x" * 101, "a\u202eb"])
def test_a_holder_has_a_name_that_can_be_shown(site, holder):
    wish = {"holder": holder, "role": "viewer"}
    assert site.client("admin").post("/api/v1/tokens", json=wish).status_code == 422


# Sessions -----------------------------------------------------------------------------------------


def logged_in(site: Site, **how: object) -> Client:
    text, _ = made(site, **how)
    browser = site.anonymous()
    response = browser.post("/api/v1/sessions", json={"token": text}, headers=OURS)
    assert response.status_code == 201
    return browser


def test_a_session_is_a_cookie_that_scripts_cannot_read(site):
    text, _ = made(site)
    browser = site.anonymous()
    response = browser.post("/api/v1/sessions", json={"token": text}, headers=OURS)
    cookie = response.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Secure" not in cookie  # by http, to this machine
    assert text not in cookie
    assert browser.get("/api/v1/me").json()["holder"] == "kim"


def test_over_https_the_cookie_is_for_https_only(site):
    public = replace(site.installation.settings, url="https://restore.example.org")
    site.app.state.installation = msgspec.structs.replace(site.installation, settings=public)
    text, _ = made(site)
    response = site.anonymous().post("/api/v1/sessions", json={"token": text}, headers=OURS)
    assert "Secure" in response.headers["set-cookie"]
    assert response.headers["strict-transport-security"].startswith("max-age=")


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": ADDRESS}, False),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Origin": ADDRESS}, True),
    ],
)
def test_a_browser_changes_something_only_from_our_own_pages(site, headers, allowed):
    admin = logged_in(site, role=Role.ADMIN)
    wish = {"holder": "lee", "role": "viewer"}
    response = admin.post("/api/v1/tokens", json=wish, headers=headers)
    assert response.status_code == (201 if allowed else 403)
    assert admin.get("/api/v1/tokens", headers=headers).status_code == 200


def test_logging_in_from_another_site_is_refused(site):
    text, _ = made(site)
    response = site.anonymous().post("/api/v1/sessions", json={"token": text})
    assert response.json()["code"] == "cross-site"


def test_a_session_ends_with_its_token(site):
    text, number = made(site)
    browser = site.anonymous()
    browser.post("/api/v1/sessions", json={"token": text}, headers=OURS)
    site.client("admin").delete(f"/api/v1/tokens/{number}")
    assert browser.get("/api/v1/me").status_code == 401


def test_a_session_ends_when_it_is_left(site):
    browser = logged_in(site)
    cookies = browser.cookies
    assert browser.delete("/api/v1/sessions/current", headers=OURS).status_code == 204
    browser.cookies = cookies
    assert browser.get("/api/v1/me").status_code == 401


def test_a_session_ends_when_nobody_uses_it_and_in_any_case_after_a_while(site):
    browser = logged_in(site)
    site.service.clock.advance(milliseconds=sessions.IDLE_MS + 1000)
    assert browser.get("/api/v1/me").status_code == 401
    browser = logged_in(site)
    for _ in range(sessions.LASTS_MS // sessions.IDLE_MS + 1):
        site.service.clock.advance(milliseconds=sessions.IDLE_MS - 1000)
        status = browser.get("/api/v1/me").status_code
    assert status == 401


def test_the_secret_of_a_session_changes_and_the_old_one_ends_soon(site):
    browser = logged_in(site)
    before = browser.cookies["reinstate_session"]
    site.service.clock.advance(milliseconds=sessions.ROTATED_MS)
    assert browser.get("/api/v1/me").status_code == 200
    after = browser.cookies["reinstate_session"]
    assert after != before
    late = site.anonymous()
    late.cookies.set("reinstate_session", before, domain="reinstate.test")
    assert late.get("/api/v1/me").status_code == 200  # a request that was under way
    assert late.cookies["reinstate_session"] == before
    site.service.clock.advance(milliseconds=sessions.GRACE_MS + 1000)
    assert late.get("/api/v1/me").status_code == 401
    assert browser.get("/api/v1/me").status_code == 200


def test_a_login_code_opens_once_and_soon(site):
    _, number = made(site)
    holder = site.installation.tokens.holder_of(number)
    code = site.installation.sessions.offer(holder)
    browser, other = site.anonymous(), site.anonymous()
    browser.cookies.set("reinstate_session", code, domain="reinstate.test")
    assert browser.get("/api/v1/me").status_code == 401  # a code is no session
    browser = site.anonymous()
    assert browser.post("/api/v1/sessions", json={"code": code}, headers=OURS).status_code == 201
    assert browser.get("/api/v1/me").json()["holder"] == "kim"
    assert other.post("/api/v1/sessions", json={"code": code}, headers=OURS).status_code == 401
    late = site.installation.sessions.offer(holder)
    site.service.clock.advance(milliseconds=sessions.CODE_MS + 1000)
    assert other.post("/api/v1/sessions", json={"code": late}, headers=OURS).status_code == 401


def test_the_ledger_keeps_no_secret_of_a_session(site):
    browser = logged_in(site)
    with site.service.ledger.read() as connection:
        rows = repr(connection.execute(browser_session.select()).all())
    assert browser.cookies["reinstate_session"] not in rows


def test_who_comes_and_goes_is_in_the_audit_log(site):
    browser = logged_in(site)
    browser.delete("/api/v1/sessions/current", headers=OURS)
    rows = site.client("admin").get("/api/v1/audit-log", params={"by": "kim"}).json()["rows"]
    assert [row["action"] for row in rows] == ["log_out", "log_in"]
