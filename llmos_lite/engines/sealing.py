"""Secrets of others, kept so that rows alone do not give them away: sealed with a key in `<data>/keys`.

ChaCha20-Poly1305 (RFC 8439) with a random nonce. A seal is bound to what it was made for, so that a row which somebody
changes in the database does not send a secret to another place.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from llmos_lite.engines.folder import read_or_make
from llmos_lite.errors import Unavailable

FILE = "sealing.key"
_NONCE = 12


class Seals:
    """Seals and opens texts.

    Args:
        keys: folder of the key, which is made when it is missing.

    Raises:
        Unavailable: `seal.key`, when there is something else in its file.
    """

    def __init__(self, keys: Path) -> None:
        path = keys / FILE
        keys.mkdir(parents=True, exist_ok=True, mode=0o700)
        text = read_or_make(path, lambda: base64.b64encode(ChaCha20Poly1305.generate_key()).decode())
        try:
            self._cipher = ChaCha20Poly1305(base64.b64decode(text, validate=True))
        except ValueError as error:
            raise Unavailable("seal.key", f"{path} is no key.", hint="Restore it from a backup.") from error

    def seal(self, text: str, about: str) -> str:
        """Return a text as nobody without the key reads it.

        Args:
            text: the secret.
            about: what it is for; needed to open it.
        """
        nonce = os.urandom(_NONCE)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, text.encode(), about.encode())).decode()

    def open(self, sealed: str, about: str) -> str:
        """Return the text of a seal.

        Raises:
            Unavailable: `seal.broken`: another key made it, or it was for something else.
        """
        try:
            data = base64.b64decode(sealed, validate=True)
            return self._cipher.decrypt(data[:_NONCE], data[_NONCE:], about.encode()).decode()
        except (ValueError, InvalidTag) as error:
            raise Unavailable(
                "seal.broken", "A stored secret cannot be opened with the key of this folder.", hint="Set it again."
            ) from error
