"""GnuPG in place of the ed25519 key: for who must sign with a key of their company, as on a card.

Each signature is a process of `gpg`, 25-90 ms, where the ed25519 key takes 0.1. The public halves of keys that ever
signed lie beside the others as `gpg-<fingerprint>.asc`, in a keyring of ours, so that commits are verified whatever is
set today.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from llmos_lite.engines.signing_keys import SOMETIME, Key
from llmos_lite.errors import Unavailable, storage_error

PGP = "-----BEGIN PGP SIGNATURE-----"
_LONGEST = 60.0
_QUIET = ("--batch", "--no-tty", "--quiet")
_FINGERPRINT = re.compile(r"[0-9A-F]{40,64}")
_DAMAGED = frozenset({"BADSIG", "REVKEYSIG"})


class Keyring:
    """The public GnuPG keys of an instance.

    Args:
        folder: where `gpg-<fingerprint>.asc` lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._home = folder / "gnupg"
        self._taken: frozenset[str] = frozenset()

    def keys(self) -> tuple[Key, ...]:
        """Return the keys that are there, as retired ones."""
        found = (path.stem.removeprefix("gpg-") for path in sorted(self._folder.glob("gpg-*.asc")))
        return tuple(Key(f"openpgp {name}", until=SOMETIME) for name in found if _FINGERPRINT.fullmatch(name))

    def check(self, payload: bytes, signature: str) -> tuple[Key | None, bool]:
        """Tell whose a signature is, of the keys here, and whether it holds.

        Raises:
            Unavailable: `signing.gpg`, when there is no gpg.
        """
        known = self.keys()
        if not known:
            return None, False
        self._take_in([key.fingerprint for key in known])
        with tempfile.NamedTemporaryFile("w", suffix=".asc") as file:
            file.write(signature)
            file.flush()
            words = ("--no-autostart", "--status-fd", "1", "--trust-model", "always", "--verify", file.name, "-")
            said = _gpg(("--homedir", str(self._home), *words), payload, check=False).stdout
        return _judged(said.decode("utf-8", "replace"), known)

    def add(self, name: str, text: bytes) -> None:
        """Keep the public half of a key.

        Raises:
            StorageFailed: it cannot be written.
        """
        path = self._folder / f"gpg-{name}.asc"
        try:
            if not path.exists() or path.read_bytes() != text:
                draft = path.with_suffix(".new")
                draft.write_bytes(text)
                draft.replace(path)
        except OSError as error:
            raise storage_error(error, "keep the public key") from error

    def _take_in(self, names: Sequence[str]) -> None:
        if self._taken.issuperset(names):
            return
        try:
            self._home.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise storage_error(error, "make a keyring") from error
        files = [str(self._folder / f"gpg-{name}.asc") for name in names]
        _gpg(("--homedir", str(self._home), "--no-autostart", "--import", *files), b"", check=False)
        self._taken = frozenset(names)


def _judged(said: str, known: Sequence[Key]) -> tuple[Key | None, bool]:
    lines = [line.split()[1:] for line in said.splitlines() if line.startswith("[GNUPG:] ")]
    words = {line[0]: line[1:] for line in lines if line}
    named = [word for name in ("VALIDSIG", *sorted(_DAMAGED)) for word in words.get(name, [])]
    key = next((key for key in known if any(_is_of(word, key) for word in named)), None)
    return key, key is not None and "VALIDSIG" in words and _DAMAGED.isdisjoint(words)


def _is_of(word: str, key: Key) -> bool:
    """Tell whether a word of gpg names a key: a fingerprint, or the end of one."""
    return len(word) >= 16 and key.fingerprint.endswith(word)  # noqa: PLR2004 - a long key id


class GpgKey:
    """A secret key that gpg knows, as who runs the server is.

    Args:
        name: as `gpg --local-user` takes it; best the fingerprint.

    Raises:
        Unavailable: `signing.gpg`, when there is no gpg, or it has no such key.
    """

    def __init__(self, name: str) -> None:
        if not name or name.startswith("-"):
            raise _failed("no key is named", "Set LLMOS_GPG_KEY to the fingerprint of a secret key.")
        listed = _gpg(("--with-colons", "--fingerprint", "--list-secret-keys", "--", name), b"").stdout.decode()
        found = re.findall(r"^sec:.*\n(?:(?!sec:).*\n)*?fpr:+([0-9A-F]+):", listed, re.MULTILINE)
        if len(found) != 1:
            raise _failed(f"{len(found)} secret keys are called {name[:80]!r}", "Name one by its fingerprint.")
        self.fingerprint = found[0]

    @property
    def key(self) -> Key:
        """Return its public half."""
        return Key(f"openpgp {self.fingerprint}")

    def public(self) -> bytes:
        """Return the public half as text."""
        return _gpg(("--armor", "--export", self.fingerprint), b"").stdout

    def sign(self, payload: bytes) -> str:
        """Return the armoured signature of `payload`, as Git keeps it in `gpgsig`.

        Raises:
            Unavailable: `signing.gpg`: the commit is not made.
        """
        text = _gpg(("--local-user", f"{self.fingerprint}", "--detach-sign", "--armor"), payload).stdout.decode()
        if not text.startswith(PGP):
            raise _failed("it made no signature", "Look at gpg and its agent.")
        return text


def _gpg(words: Sequence[str], given: bytes, *, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    command = ["gpg", *_QUIET, *words]
    try:
        done = subprocess.run(command, input=given, capture_output=True, timeout=_LONGEST, check=False)  # noqa: S603 - no shell, our own words
    except FileNotFoundError as error:
        raise _failed("there is no gpg on this machine", "Install gnupg, or set LLMOS_SIGNING=ssh.") from error
    except subprocess.TimeoutExpired as error:
        raise _failed(f"it took more than {_LONGEST:.0f} s", "A key with a pass phrase needs an agent.") from error
    if check and done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()[-300:] or f"it ended with {done.returncode}"
        raise _failed(said, "Look at LLMOS_GPG_KEY, gpg and its agent.")
    return done


def _failed(why: str, hint: str) -> Unavailable:
    return Unavailable("signing.gpg", f"GnuPG cannot sign or verify: {why}.", hint=hint)
