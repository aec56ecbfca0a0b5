"""An OpenID Connect provider on a socket of this machine, that also does what none should.

with provider() as issuer:
    issuer.claims["groups"] = ["leads"]     # of whoever logs in next
    issuer.forge = …                        # what becomes of the ID token before it is handed out
"""

import base64
import contextlib
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

CLIENT, SECRET = "reinstate", "s3cret/with+signs"


class Issuer:
    """What the provider knows, and how it behaves."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.first = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
        self.reset()

    def reset(self) -> None:
        """Be honest again, and know nobody."""
        address = self.address
        self.claims: dict[str, Any] = {"sub": "1", "email": "ann@example.org", "groups": ["leads"]}
        self.keys: list[Any] = [self.first]
        self.codes: dict[str, dict[str, str]] = {}
        self.forge: Callable[[dict[str, Any], dict[str, Any]], str | None] = lambda _h, _c: None
        self.document: dict[str, Any] = {
            "issuer": address,
            "authorization_endpoint": f"{address}/authorize",
            "token_endpoint": f"{address}/token",
            "jwks_uri": f"{address}/keys",
            "end_session_endpoint": f"{address}/leave",
            "authorization_response_iss_parameter_supported": True,
            "code_challenge_methods_supported": ["S256"],
        }
        self.answers_as = address
        """The issuer that its answers to the browser name."""
        self.key_fetches = 0
        self.away = False

    def rotate(self) -> None:
        """Another key from now on; the old one is not shown any more."""
        self.keys = [ECKey.generate_key("P-256", {"kid": secrets.token_hex(4), "use": "sig"})]

    def authorize(self, asked: dict[str, str]) -> str:
        """Where the browser is sent back to: whoever asks is let in."""
        assert asked["client_id"] == CLIENT
        assert asked["response_type"] == "code"
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_hex(8)
        self.codes[code] = asked
        back = {"code": code, "state": asked["state"], "iss": self.answers_as}
        return f"{asked['redirect_uri']}?{urlencode(back)}"

    def token(self, asked: dict[str, str], authorization: str) -> dict[str, Any] | None:
        """The answer to a code; None: no. A code is good once."""
        want = "Basic " + base64.b64encode(f"{CLIENT}:s3cret%2Fwith%2Bsigns".encode()).decode()
        begun = self.codes.pop(asked["code"], None)
        if begun is None or authorization != want:
            return None
        challenge = hashlib.sha256(asked["code_verifier"].encode()).digest()
        shown = base64.urlsafe_b64encode(challenge).decode().rstrip("=")
        if shown != begun["code_challenge"] or asked["redirect_uri"] != begun["redirect_uri"]:
            return None
        now = int(time.time())
        claims = {
            "iss": self.address,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": begun["nonce"],
            **self.claims,
        }
        key = self.keys[0]
        header = {"alg": "RS256" if key.key_type == "RSA" else "ES256", "kid": key.kid}
        forged = self.forge(header, claims)
        return {"id_token": forged or jwt.encode(header, claims, key), "token_type": "Bearer"}


@contextlib.contextmanager
def provider() -> Iterator[Issuer]:
    """A provider that answers until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
            if issuer.away:
                self.answer(503, {})
            elif parts.path == "/.well-known/openid-configuration":
                self.answer(200, issuer.document)
            elif parts.path == "/keys":
                issuer.key_fetches += 1
                self.answer(200, KeySet(issuer.keys).as_dict(private=False))
            elif parts.path == "/authorize":
                self.send_response(302)
                self.send_header("Location", issuer.authorize(asked))
                self.end_headers()
            else:
                self.answer(404, {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            asked = {name: values[0] for name, values in parse_qs(body).items()}
            found = issuer.token(asked, self.headers.get("Authorization", ""))
            self.answer(200 if found else 400, found or {"error": "invalid_grant"})

        def answer(self, status: int, value: object) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    issuer = Issuer(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
