"""Single sign-on against a provider on a socket, honest or not: who gets in, and who does not."""

import base64
import hmac
import json
import sys
import time
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

from orchestrator import doctor
from orchestrator.errors import Refused
from orchestrator.identity.provider import FETCHED_AGAIN, Provider
from orchestrator.identity.sign_on import LASTS_SECONDS, SignOn
from orchestrator.settings import OpenIdConnect, Settings
from tests.identity_provider import CLIENT, SECRET, provider
from tests.site import ADDRESS, Site

CALLBACK = f"{ADDRESS}/login/sso/callback"


class Clock:
    """Passes when a test says so."""

    def __init__(self):
        self.ahead = 0.0

    def __call__(self):
        return time.time() + self.ahead


@pytest.fixture(scope="module")
def running():
    with provider() as found:
        yield found


@pytest.fixture
def issuer(running):
    running.reset()
    return running


def settings_of(issuer, **more):
    roles = (("leads", "approver"), ("team", "operator"))
    given = {"issuer": issuer.address, "client": CLIENT, "secret": SECRET, "roles": roles}
    return OpenIdConnect(**given | more)


@pytest.fixture(scope="module")
def clock():
    return Clock()


@pytest.fixture(scope="module")
def shared(tmp_path_factory, running, clock):
    oidc = settings_of(running)
    asked = Provider(oidc, clock=clock)
    made = Site(
        tmp_path_factory.mktemp("site"),
        sign_on=lambda sealer: SignOn(oidc, sealer, callback=CALLBACK, provider=asked, now=clock),
    )
    yield made
    made.close()


@pytest.fixture
def site(shared, issuer, clock):
    """The same installation for every test; what it knows of the provider is forgotten."""
    shared.installation.sign_on._provider._document = None
    shared.installation.sign_on._provider._keys = None
    clock.ahead = 0
    assert issuer.key_fetches == 0
    return shared


def sent(browser, following="/"):
    """Where the provider sends the browser back to, after it asked to log in."""
    left = browser.get("/login/sso", params={"next": following})
    assert left.status_code == 303, left.text
    return back_from(left.headers["Location"])


def back_from(address):
    came = httpx.get(address)
    assert came.status_code == 302
    return came.headers["Location"].removeprefix(ADDRESS)


def holder(browser):
    answer = browser.get("/api/v1/me")
    return (answer.json()["holder"], answer.json()["role"]) if answer.is_success else None


def refused(browser, address):
    """Nobody gets in; the answer says what to do, and repeats nothing that was sent."""
    answer = browser.get(address)
    assert answer.status_code in {409, 503}
    assert 'role="alert"' in answer.text
    assert holder(browser) is None
    assert "rst_" not in answer.headers.get("set-cookie", "")
    return answer


@pytest.mark.guarantee(7)
def test_whoever_proves_it_gets_in_with_the_role_of_their_group(site):
    browser = site.anonymous()
    back = browser.get(sent(browser, "/plans?x=1"))
    assert (back.status_code, back.headers["Location"]) == (303, "/plans?x=1")
    assert holder(browser) == ("ann@example.org", "approver")
    log = site.client("admin").get("/api/v1/audit-log").json()["rows"]
    assert {row["who"] for row in log if row["action"] == "log_in"} == {"ann@example.org"}


def test_the_login_page_offers_it_and_logging_out_ends_it_here_and_there(site, issuer):
    browser = site.anonymous()
    assert "/login/sso?next=%2F" in browser.get("/login").text
    browser.get(sent(browser))
    out = browser.post("/logout", headers={"Sec-Fetch-Site": "same-origin"})
    assert out.status_code == 303
    assert holder(browser) is None
    assert f"{issuer.address}/leave?client_id" in browser.get(out.headers["Location"]).text


@pytest.mark.parametrize("following", ["//evil.test", "https://evil.test", "/\\evil.test", "/\t/x"])
def test_nobody_is_sent_on_to_another_site(site, following):
    browser = site.anonymous()
    assert browser.get(sent(browser, following)).headers["Location"] == "/"


@pytest.mark.parametrize(
    ("claims", "word"),
    [
        ({"groups": ["others"]}, "role"),
        ({"groups": None}, "role"),
        ({"email": None}, "names nobody"),
        ({"email_verified": False}, "names nobody"),
        ({"email": "x" * 200}, "too long"),
    ],
)
def test_whoever_has_no_name_or_role_here_does_not_get_in(site, issuer, claims, word):
    issuer.claims |= claims
    browser = site.anonymous()
    assert word in refused(browser, sent(browser)).text


def test_the_first_group_of_the_settings_decides(site, issuer):
    issuer.claims["groups"] = ["team", "leads"]
    browser = site.anonymous()
    browser.get(sent(browser))
    assert holder(browser) == ("ann@example.org", "approver")


# Attacks ------------------------------------------------------------------------------------------


def changed(**claims):
    """A token of the right key that says something else."""

    def forge(issuer):
        return lambda header, honest: jwt.encode(header, honest | claims, issuer.keys[0])

    return forge


def unsigned(_issuer):
    def forge(_header, claims):
        parts = (json.dumps({"alg": "none"}).encode(), json.dumps(claims).encode(), b"")
        return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)

    return forge


def by_another_key(issuer):
    other = RSAKey.generate_key(2048, {"kid": issuer.keys[0].kid})
    return lambda header, claims: jwt.encode(header, claims, other)


def by_the_public_key_as_secret(issuer):
    public = issuer.keys[0].as_pem(private=False)

    def forge(header, claims):
        parts = [json.dumps(part).encode() for part in ({**header, "alg": "HS256"}, claims)]
        signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
        mac = base64.urlsafe_b64encode(hmac.digest(public, signed, "sha256")).rstrip(b"=")
        return (signed + b"." + mac).decode()

    return forge


def by_our_own_secret(_issuer):
    secret = OctKey.import_key(SECRET.ljust(32, "="))
    return lambda header, claims: jwt.encode({**header, "alg": "HS256"}, claims, secret)


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")  # of the attacker's keys
@pytest.mark.parametrize(
    "attack",
    [
        changed(aud="another"),
        changed(aud=[]),
        changed(aud=[CLIENT, "another"]),
        changed(azp="another"),
        changed(iss="https://evil.test"),
        changed(exp=int(time.time()) - 3600),
        changed(exp=None),
        changed(iat=int(time.time()) + 3600),
        changed(nonce="of another login"),
        changed(nonce=None),
        changed(sub=None),
        unsigned,
        by_another_key,
        by_the_public_key_as_secret,
        by_our_own_secret,
        lambda _issuer: lambda _header, _claims: "not.a.token",
    ],
)
def test_a_token_that_does_not_prove_it_lets_nobody_in(site, issuer, attack):
    issuer.forge = attack(issuer)
    browser = site.anonymous()
    assert "proves nothing" in refused(browser, sent(browser)).text


def test_a_token_of_an_earlier_login_lets_nobody_in(site, issuer):
    kept = []

    def keep(header, claims):
        kept.append(jwt.encode(header, claims, issuer.keys[0]))
        return kept[0]

    issuer.forge = keep
    first, second = site.anonymous(), site.anonymous()
    first.get(sent(first))
    assert holder(first) is not None
    refused(second, sent(second))


def test_a_login_is_good_once_even_where_the_provider_takes_codes_twice(site, issuer):
    browser = site.anonymous()
    back = sent(browser)
    cookies = httpx.Cookies(browser.cookies)
    code = parse_qs(urlsplit(back).query)["code"][0]
    begun = issuer.codes[code]
    assert browser.get(back).status_code == 303
    again = site.anonymous()
    again.cookies = cookies
    issuer.codes[code] = begun
    assert "used before" in refused(again, back).text
    again.cookies = httpx.Cookies(cookies)
    refused(again, back)  # and the provider itself takes it once


def test_a_login_comes_back_in_the_browser_that_began_it_and_soon(site, clock):
    victim, attacker = site.anonymous(), site.anonymous()
    theirs = sent(attacker)
    refused(victim, theirs)  # no cookie at all
    sent(victim)
    refused(victim, theirs)  # the cookie of another login
    late = sent(victim)
    clock.ahead += LASTS_SECONDS + 1
    refused(victim, late)


def test_the_answer_of_another_provider_is_none(site, issuer):
    browser = site.anonymous()
    issuer.answers_as = "https://evil.test"
    refused(browser, sent(browser))
    issuer.answers_as = issuer.address
    without = "&".join(part for part in sent(browser).split("&") if not part.startswith("iss="))
    refused(browser, without)


def test_a_provider_that_says_no_is_shown_without_repeating_it(site):
    browser = site.anonymous()
    asked = parse_qs(urlsplit(browser.get("/login/sso").headers["Location"]).query)
    issuer = site.installation.sign_on._settings.issuer
    answer = refused(
        browser,
        f"/login/sso/callback?error=<script>&state={asked['state'][0]}&iss={issuer}",
    )
    assert "<script>" not in answer.text.replace("<script src", "")


def test_keys_may_change_at_any_time_and_strange_ones_are_not_looked_for_without_end(
    site, issuer, clock
):
    browser = site.anonymous()
    browser.get(sent(browser))
    issuer.rotate()
    clock.ahead += FETCHED_AGAIN + 1
    browser = site.anonymous()
    browser.get(sent(browser))
    assert holder(browser) is not None
    fetched = issuer.key_fetches
    issuer.forge = by_another_key(issuer)
    for _ in range(5):
        browser = site.anonymous()
        refused(browser, sent(browser))
    assert issuer.key_fetches == fetched


def test_where_the_provider_is_away_people_are_told_and_tokens_still_work(site, issuer):
    issuer.away = True
    browser = site.anonymous()
    refused(browser, "/login/sso")
    assert site.client("viewer").get("/api/v1/me").status_code == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://evil.test"},
        {"token_endpoint": None},
        {"jwks_uri": "javascript:alert(1)"},
    ],
)
def test_a_provider_that_describes_itself_wrongly_is_not_used(site, issuer, changes):
    issuer.document |= changes
    refused(site.anonymous(), "/login/sso")


def test_without_settings_there_is_no_single_sign_on(tmp_path):
    plain = Site(tmp_path)
    browser = plain.anonymous()
    assert browser.get("/login/sso").status_code == 404
    assert browser.get("/login/sso/callback").status_code == 404
    assert "sso" not in browser.get("/login").text
    plain.close()


# Settings and doctor ------------------------------------------------------------------------------


def environ(issuer, **more):
    given = {
        "REINSTATE_OIDC_ISSUER": issuer.address,
        "REINSTATE_OIDC_CLIENT": CLIENT,
        "REINSTATE_OIDC_SECRET": SECRET,
        "REINSTATE_OIDC_ROLES": "leads=approver, team=operator",
    }
    return given | {f"REINSTATE_{name}": value for name, value in more.items()}


@pytest.mark.parametrize(
    "wrong",
    [
        {"OIDC_ISSUER": "http://id.example.org"},
        {"OIDC_ISSUER": ""},
        {"OIDC_CLIENT": ""},
        {"OIDC_ROLES": ""},
        {"OIDC_ROLES": "leads"},
    ],
)
def test_settings_that_do_not_fit_together_are_refused_with_a_hint(issuer, wrong):
    with pytest.raises(Refused) as error:
        Settings.read(environ(issuer, **wrong))
    assert error.value.hint
    assert SECRET not in f"{error.value}{error.value.hint}"


def test_a_child_reads_the_same_provider(issuer):
    settings = Settings.read(environ(issuer, URL="https://restore.example.org"))
    assert Settings.read(settings.environment()).oidc == settings.oidc
    assert SECRET not in repr(settings)


def test_a_role_that_there_is_not_is_refused_at_the_start(issuer, tmp_path):
    oidc = settings_of(issuer, roles=(("leads", "king"),))
    with pytest.raises(Refused, match="role"):
        Site(tmp_path, sign_on=lambda sealer: SignOn(oidc, sealer, callback=CALLBACK))


def test_without_the_extra_the_start_says_how_to_install_it(issuer, monkeypatch):
    monkeypatch.setitem(sys.modules, "joserfc", None)
    with pytest.raises(Refused) as error:
        SignOn(settings_of(issuer), None, callback=CALLBACK)
    assert "reinstate[oidc]" in error.value.hint


def checks(issuer, tmp_path, **more):
    settings = Settings.read(environ(issuer, HOME=str(tmp_path), **more))
    return {check.name: check for check in doctor._oidc(settings)}


def test_doctor_asks_the_provider_and_says_what_to_register(issuer, tmp_path):
    found = checks(issuer, tmp_path, URL="https://restore.example.org")
    assert all(check.ok for check in found.values())
    assert found["way back"].found == "https://restore.example.org/login/sso/callback"
    assert not checks(issuer, tmp_path)["way back"].ok
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda issuer: setattr(issuer, "away", True), "reach"),
        (lambda issuer: issuer.document.update(issuer="https://x.test"), "compare"),
        (lambda issuer: issuer.document.update(code_challenge_methods_supported=["plain"]), "S256"),
        (lambda issuer: setattr(issuer, "keys", [OctKey.generate_key(256)]), "no key"),
    ],
)
def test_doctor_says_what_is_wrong_with_a_provider(issuer, tmp_path, spoil, word):
    spoil(issuer)
    bad = [
        check for check in checks(issuer, tmp_path, URL="https://r.test").values() if not check.ok
    ]
    assert word in " ".join(check.fix for check in bad)
