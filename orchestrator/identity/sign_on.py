"""Single sign-on by OpenID Connect: the code flow with PKCE, state and nonce.

    begin   → an address of the provider, and a sealed cookie that only this browser has
    end     → who came back: state as in the cookie, issuer as configured (RFC 9207), the code
              exchanged with the verifier, the ID token proven: signature, iss, aud, exp, nonce

Nothing is kept of a login that is under way but the cookie. It is good for ten minutes; that its
state is good once is seen to by whoever calls `end`.
"""

import hmac
import importlib.util
import secrets
import threading
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec
from msgspec import Struct

from orchestrator.errors import PlanInvalid, Refused, Unavailable
from orchestrator.identity.provider import Provider, secret_of
from orchestrator.identity.roles import Caller, Role
from orchestrator.identity.tokens import holder_name
from orchestrator.sealing import Sealer
from orchestrator.settings import OpenIdConnect

LASTS_SECONDS = 600
LEEWAY_SECONDS = 60
AT_ONCE = 2
"""Logins that ask the provider at the same time: a slow one must not take every thread."""
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""Signatures by a key of the provider's own; never `none`, nor by a secret that we have, too."""
_CONTEXT = b"sign-on"


class Begun(Struct, frozen=True, kw_only=True):
    """A login that was sent to the provider."""

    address: str
    cookie: str


class Arrived(Struct, frozen=True, kw_only=True):
    """Somebody who has proven at the provider who they are."""

    caller: Caller
    following: str
    """Where they wanted to go."""


class _Underway(Struct, frozen=True):
    state: str
    nonce: str
    verifier: str
    following: str
    at: float


class SignOn:
    """One provider, for one installation."""

    def __init__(
        self,
        settings: OpenIdConnect,
        sealer: Sealer,
        *,
        callback: str,
        provider: Provider | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        _must_be_installed()
        self.roles = roles_of(settings)
        secret_of(settings)
        self._settings = settings
        self._sealer = sealer
        self._callback = callback
        self._provider = provider or Provider(settings)
        self._now = now
        self._room = threading.BoundedSemaphore(AT_ONCE)

    @property
    def host(self) -> str:
        """Where people log in, for a person."""
        return urlsplit(self._settings.issuer).netloc

    def begin(self, following: str) -> Begun:
        """Send a browser to the provider. Raises `Unavailable` or `Refused`."""
        under_way = _Underway(
            state=secrets.token_urlsafe(32),
            nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48),
            following=following,
            at=self._now(),
        )
        challenge = sha256(under_way.verifier.encode()).digest()
        asked = {
            "response_type": "code",
            "client_id": self._settings.client,
            "redirect_uri": self._callback,
            "scope": self._settings.scope,
            "state": under_way.state,
            "nonce": under_way.nonce,
            "code_challenge": urlsafe_b64encode(challenge).decode().rstrip("="),
            "code_challenge_method": "S256",
        }
        with self._one_of_few():
            where = str(self._provider.document()["authorization_endpoint"])
        sealed = self._sealer.seal(msgspec.msgpack.encode(under_way), _CONTEXT)
        return Begun(
            address=f"{where}{'&' if '?' in where else '?'}{urlencode(asked)}",
            cookie=urlsafe_b64encode(sealed).decode(),
        )

    def end(self, cookie: str | None, *, state: str, code: str, issuer: str, error: str) -> Arrived:
        """Who came back. Raises `Refused` for whatever does not fit, `Unavailable`."""
        under_way = self._opened(cookie)
        if not hmac.compare_digest(under_way.state.encode(), state.encode()):
            raise _not_ours()
        with self._one_of_few():
            self._must_be_issuer(issuer)
            if error or not code:
                raise Refused(
                    "the identity provider did not let you in", hint="log in once more, or by token"
                )
            token = self._provider.token(
                code=code, verifier=under_way.verifier, callback=self._callback
            )
            claims = self._proven(token, nonce=under_way.nonce)
        return Arrived(caller=self._caller(claims), following=under_way.following)

    def farewell(self) -> str | None:
        """Where people end their session at the provider, too."""
        try:
            found = self._provider.document().get("end_session_endpoint")
        except (Refused, Unavailable):
            return None
        if not isinstance(found, str) or not found.startswith(("https://", "http://")):
            return None
        query = urlencode({"client_id": self._settings.client})
        return f"{found}{'&' if '?' in found else '?'}{query}"

    def _one_of_few(self) -> "_Room":
        return _Room(self._room)

    def _opened(self, cookie: str | None) -> _Underway:
        try:
            sealed = urlsafe_b64decode((cookie or "").encode())
            under_way = msgspec.msgpack.decode(self._sealer.open(sealed, _CONTEXT), type=_Underway)
        except (ValueError, Refused, msgspec.DecodeError):
            raise _not_ours() from None
        if not 0 <= self._now() - under_way.at <= LASTS_SECONDS:
            raise _not_ours()
        return under_way

    def _must_be_issuer(self, issuer: str) -> None:
        """RFC 9207: an answer of another provider than the one that was asked is no answer."""
        said = self._provider.document().get("authorization_response_iss_parameter_supported")
        if (issuer or said is True) and issuer != self._settings.issuer:
            raise _not_ours()

    def _proven(self, token: str, *, nonce: str) -> Mapping[str, Any]:
        from joserfc.errors import JoseError  # noqa: PLC0415  an extra

        known = self._provider.keys()
        for keys in (known, None):
            try:
                claims = _signed(token, keys or self._provider.keys(but_not=known))
            except (JoseError, ValueError):
                continue  # perhaps by a key that is newer than what we know
            try:
                self._check(claims, nonce=nonce)
            except (JoseError, ValueError):
                break
            return claims
        raise Refused("the identity provider's answer proves nothing", hint="log in once more")

    def _check(self, claims: Mapping[str, Any], *, nonce: str) -> None:
        from joserfc.jwt import JWTClaimsRegistry  # noqa: PLC0415  an extra

        client = self._settings.client
        JWTClaimsRegistry(
            now=lambda: int(self._now()),
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": self._settings.issuer},
            aud={"essential": True, "value": client},
            exp={"essential": True},
            iat={"essential": True},
            sub={"essential": True},
            nonce={"essential": True, "value": nonce},
        ).validate(dict(claims))
        audience = claims["aud"]
        party = claims.get("azp", client if isinstance(audience, str) else None)
        several = not isinstance(audience, str) and len(audience) > 1
        if (several or "azp" in claims) and party != client:
            raise ValueError("meant for somebody else, too")

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        """Whoever the claims name, with the role of the first group that has one."""
        name = claims.get(self._settings.name)
        verified = self._settings.name != "email" or claims.get("email_verified", True) is True
        if not isinstance(name, str) or not verified:
            raise Refused(
                f"the identity provider names nobody in '{self._settings.name}'",
                hint="ask an administrator: REINSTATE_OIDC_NAME, and a verified address",
            )
        given = claims.get(self._settings.groups, [])
        groups = {given} if isinstance(given, str) else set(map(str, given or []))
        role = next((role for group, role in self.roles if group in groups), None)
        if role is None:
            raise Refused(
                "you are known, but none of your groups has a role here",
                hint="ask an administrator: REINSTATE_OIDC_ROLES",
            )
        try:
            return Caller(holder=holder_name(name), role=role)
        except PlanInvalid:
            raise Refused("the identity provider's name for you is too long or odd") from None


class _Room:
    """A place among the few that may ask the provider at once."""

    def __init__(self, room: threading.BoundedSemaphore) -> None:
        self._room = room

    def __enter__(self) -> None:
        if not self._room.acquire(timeout=2.0):
            raise Unavailable("too many log in at once", retry_in=2.0, hint="log in once more")

    def __exit__(self, *_: object) -> None:
        self._room.release()


def _must_be_installed() -> None:
    if importlib.util.find_spec("joserfc") is None:
        raise Refused(
            "single sign-on is configured, but not installed",
            hint="pip install 'reinstate[oidc]', or leave REINSTATE_OIDC_… out",
        )


def usable_keys(keys: dict[str, Any]) -> int:
    """How many keys of a provider's set we could check a signature with. Raises `Refused`."""
    _must_be_installed()
    return len(_fit(keys))


def _fit(keys: dict[str, Any]) -> list[Any]:
    return [
        key
        for key in keys["keys"]
        if isinstance(key, dict) and key.get("kty") in {"RSA", "EC"} and key.get("use") != "enc"
    ]


def roles_of(settings: OpenIdConnect) -> tuple[tuple[str, Role], ...]:
    """Which group has which role. Raises `Refused` for a role that there is not."""
    try:
        return tuple((group, Role(role)) for group, role in settings.roles)
    except ValueError:
        raise Refused(
            "REINSTATE_OIDC_ROLES names a role that there is not",
            hint=f"one of {', '.join(Role)}",
        ) from None


def _signed(token: str, keys: dict[str, Any]) -> Mapping[str, Any]:
    """The claims of a token that was signed by one of these keys."""
    from joserfc import jwt  # noqa: PLC0415  an extra
    from joserfc.jwk import KeySet  # noqa: PLC0415

    fit = KeySet.import_key_set({"keys": _fit(keys)})
    found = jwt.decode(token, fit, algorithms=ALGORITHMS)
    return found.claims


def _not_ours() -> Refused:
    return Refused(
        "this login was not begun here, or not just now", hint="log in once more, in one window"
    )
