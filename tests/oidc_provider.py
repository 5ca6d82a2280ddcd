"""A real OpenID provider, in a process of its own: oidc-provider-mock, plus what it leaves out and what tests need.

It insists on PKCE; `POST /control/rotate` changes its key, `GET /control/key` gives it away, and the next ID token is
what `POST /control/forge` was sent. Prints its port.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import sys
import warnings
from urllib.parse import parse_qs, urlsplit

import flask
import werkzeug.serving

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import oidc_provider_mock
    from authlib import jose

app = oidc_provider_mock.app(require_nonce=True)
challenges: dict[str, str] = {}
forged: list[str] = []


@app.before_request
def check_pkce() -> flask.Response | None:
    """Refuse a token request whose verifier is not the one that was promised (RFC 7636, section 4.6)."""
    if flask.request.path == "/oauth2/authorize" and flask.request.args.get("code_challenge_method") != "S256":
        return flask.Response("PKCE is needed", 400)
    if flask.request.path == "/oauth2/token":
        verifier = flask.request.form.get("code_verifier", "")
        found = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        if challenges.pop(flask.request.form.get("code", ""), None) != found:
            return flask.Response('{"error": "invalid_grant"}', 400, content_type="application/json")
    return None


@app.after_request
def remember(answer: flask.Response) -> flask.Response:
    """Keep the challenge of each code that is given out; put a forged token into the answer that asks for one."""
    if flask.request.path == "/oauth2/authorize" and (place := answer.headers.get("location")):
        for code in parse_qs(urlsplit(place).query).get("code", []):
            challenges[code] = flask.request.args["code_challenge"]
    if flask.request.path == "/oauth2/token" and forged and answer.status_code == 200:
        answer.set_data(json.dumps({**json.loads(answer.get_data()), "id_token": forged.pop()}))
    return answer


@app.post("/control/rotate")
def rotate() -> str:
    """Sign with a new key from now on, and publish no other."""
    flask.g.oidc_provider_mock_storage.jwk = jose.RSAKey.generate_key(is_private=True)
    return "ok"


@app.get("/control/key")
def key() -> flask.Response:
    """Give the private key away."""
    return flask.jsonify(flask.g.oidc_provider_mock_storage.jwk.as_dict(is_private=True))


@app.post("/control/forge")
def forge() -> str:
    """Hand this out as the next ID token."""
    forged.append(flask.request.get_data(as_text=True))
    return "ok"


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    server = werkzeug.serving.make_server("127.0.0.1", 0, app, threaded=True)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
