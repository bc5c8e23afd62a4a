"""Mints tickets for Keyward, which lets a portal's people into the applications behind it.

Copy this file into the portal. It needs Python 3.8 and nothing else; only to seal passwords into tickets, the
package `cryptography` (Debian: python3-cryptography), since Python itself brings no AES.
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
import re
import secrets

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_BLANK = "[ \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]"
_BLANK_AT_AN_EDGE = re.compile(rf"\A{_BLANK}|{_BLANK}\Z")


def new_session_id():
    """A new name for a session, which nobody can guess. Every sign-in gets one of its own."""
    return secrets.token_hex(16)


def mint_ticket(key_id, secret, *, sid, sub, iat, exp, roles=(), name="", email="", password=None):
    """The ticket that the browser brings from now on, as the value of the portal's cookie.

    `secret` is the one of the portal's [[portal.key]] with the id `key_id`, as it is written there: text,
    base64:… or hex:…. Times are Unix seconds. `password`, where the applications want one, is sealed.
    Raises ValueError for what Keyward would not accept.
    """
    _check(re.fullmatch("[A-Za-z0-9_-]{1,64}", key_id), "the key id has other characters than A-Z a-z 0-9 - _")
    _check(16 <= len(sid) <= 128, "sid must have 16 to 128 characters")
    _check_text("sid", sid)
    _check(sub, "sub is empty")
    for what, text in (("sub", sub), ("name", name), ("email", email)):
        _check_text(what, text)
        if what != "name":
            _check_edges(what, text)
    # A text is a list of letters to Python, and none of them a role.
    _check(not isinstance(roles, str) and len(roles) <= 256, "roles must be a list of at most 256")
    for role in roles:
        _check(role and "," not in role, "a role is empty or holds a comma")
        _check_text("a role", role)
        _check_edges("a role", role)
    _check(type(iat) is int and type(exp) is int and 0 <= iat < exp, "exp must be later than iat, both whole seconds")

    material = _key_material(secret)
    payload = {"sid": sid, "sub": sub, "iat": iat, "exp": exp}
    # Left out where there is none: null is no value of a ticket.
    payload.update({field: value for field, value in
                    (("roles", list(roles)), ("name", name), ("email", email)) if value})
    if password is not None:
        payload["cred"] = _seal(material, sid, password)
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    signed = f"kw1.{key_id}.{_base64url(text.encode())}"
    mac = hmac.new(_derive(material, b"keyward ticket mac v1"), signed.encode(), hashlib.sha256).digest()
    ticket = f"{signed}.{_base64url(mac)}"
    _check(len(ticket) <= 8192, "the ticket is longer than 8 KiB")
    return ticket


def _seal(material, sid, password):
    """The password, for nobody but Keyward, and for this session alone."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    # An empty password is an anonymous sign-in at many servers, so Keyward takes none.
    _check(password, "the password is empty")
    nonce = os.urandom(12)
    key = AESGCM(_derive(material, b"keyward ticket seal v1"))
    return _base64url(nonce + key.encrypt(nonce, password.encode(), sid.encode()))


def _derive(material, purpose):
    """HKDF-SHA256 (RFC 5869) without salt, for 32 bytes, which is one round of it."""
    extracted = hmac.new(bytes(32), material, hashlib.sha256).digest()
    return hmac.new(extracted, purpose + b"\x01", hashlib.sha256).digest()


def _key_material(secret):
    try:
        if secret.startswith("base64:"):
            material = base64.b64decode(secret[7:].strip(), validate=True)
        elif secret.startswith("hex:"):
            material = binascii.unhexlify(secret[4:].strip())
        else:
            material = secret.encode()
    except ValueError:
        # Without the cause, which would show it.
        raise ValueError("the secret is not what its prefix says") from None
    _check(len(material) >= 32, "the secret must be at least 32 bytes long")
    return material


def _check_text(what, text):
    # What is no Unicode text, such as half a surrogate pair, cannot be encoded: UnicodeEncodeError is a ValueError.
    _check(len(text.encode()) <= 512, f"{what} is longer than 512 bytes")
    _check(not _CONTROL.search(text), f"{what} holds a control character")


def _check_edges(what, text):
    _check(not _BLANK_AT_AN_EDGE.search(text), f"{what} begins or ends with a blank")


def _check(fine, otherwise):
    if not fine:
        raise ValueError(otherwise)


def _base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _try_out():
    """Each line of standard input is one ticket to make, written like the query of an address:
    key_id=2026a&secret=…&sid=…&sub=ana&iat=1767225600&exp=1767229200&role=staff&role=admin&name=…&email=…&password=…
    """
    import sys
    from urllib.parse import parse_qsl

    for line in sys.stdin:
        pairs = parse_qsl(line.rstrip("\n"), keep_blank_values=True, errors="surrogateescape")
        given = {"sid": new_session_id(), "sub": "", **dict(pair for pair in pairs if pair[0] != "role")}
        given["roles"] = [value for field, value in pairs if field == "role"]
        given["iat"], given["exp"] = int(given["iat"]), int(given["exp"])
        try:
            print(mint_ticket(given.pop("key_id"), given.pop("secret"), **given), flush=True)
        except ValueError as refusal:
            print("refused:", refusal, flush=True)


if __name__ == "__main__":
    _try_out()
