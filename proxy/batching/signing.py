"""Signatures of webhooks, version 1 of Standard Webhooks: https://github.com/standard-webhooks/standard-webhooks."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac


class BadSecret(Exception):
    """`batch.webhook_secret` begins with whsec_, and what follows is no base64 of a key."""


def signing_key(secret: str) -> bytes:
    """The key of a secret, as `openai`'s own SDK reads it. Raises `BadSecret`."""
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        key = b""
    if not key:
        raise BadSecret("has no base64 after whsec_; make one with openssl rand -base64 32")
    return key


def signed(key: bytes, message_id: str, at_s: int, body: bytes) -> dict[str, str]:
    """The headers of a delivery. Without a key it is not signed."""
    headers = {"webhook-id": message_id, "webhook-timestamp": str(at_s)}
    if key:
        digest = hmac.digest(key, b"%s.%d.%s" % (message_id.encode(), at_s, body), hashlib.sha256)
        headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return headers
