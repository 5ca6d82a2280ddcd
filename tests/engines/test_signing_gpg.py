"""Commits that GnuPG signs. CI has gpg (`.ci/run` installs it); elsewhere, without it, this is skipped."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmos_lite.core.verify import Verified, verify
from llmos_lite.engines.git import Author, LocalGitStore
from llmos_lite.engines.signing import Signer
from llmos_lite.engines.signing_gpg import PGP, GpgKey
from llmos_lite.errors import Conflict, Invalid, Unavailable

ALICE = Author("alice", "alice@localhost")

needs_gpg = pytest.mark.skipif(
    shutil.which("gpg") is None and "CI" not in os.environ, reason="gpg is not installed (apt install gnupg)"
)


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """Return a GnuPG home with one key, in a short path: the agent's socket lies in it."""
    with tempfile.TemporaryDirectory(prefix="gpg", dir="/tmp") as folder:
        Path(folder).chmod(0o700)
        words = ["--pinentry-mode", "loopback", "--passphrase", "", "--quick-generate-key"]
        gpg(Path(folder), *words, "Company <git@example.org>", "ed25519", "sign", "never")
        yield Path(folder)
        subprocess.run(["gpgconf", "--homedir", folder, "--kill", "all"], check=False, capture_output=True)


def gpg(home: Path, *words: str) -> str:
    command = ["gpg", "--homedir", str(home), "--batch", "--quiet", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def company(home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("GNUPGHOME", str(home))
    return GpgKey("git@example.org").fingerprint


@needs_gpg
def test_gpg_signs_and_its_commits_are_verified_for_ever(tmp_path: Path, company: str) -> None:
    before = Signer.open(tmp_path / "keys")
    store = LocalGitStore(tmp_path / "x.git", signer=before, bare=True)
    first = store.commit({"a.md": b"1"}, "One", ALICE)
    signer = Signer.open(tmp_path / "keys", kind="gpg", gpg_key=company)
    store = LocalGitStore(tmp_path / "x.git", signer=signer, bare=True)
    second = store.commit({"a.md": b"2"}, "Two", ALICE)
    command = ["git", "-C", str(store.gitdir), "verify-commit", "--raw", second.oid]
    assert "VALIDSIG" in subprocess.run(command, check=True, capture_output=True, text=True).stderr
    assert signer.known()[0].fingerprint == company
    assert (tmp_path / "keys" / f"gpg-{company}.asc").read_text().startswith("-----BEGIN PGP PUBLIC KEY BLOCK-----")
    for one in (signer, Signer.open(tmp_path / "keys")):  # also when ssh is set again
        found = verify(store.gitdir, one, Verified("system", "skills"), objects=False)
        assert (found.sound, found.platform) == (True, 2), found.problems
        assert set(found.keys) == {company, before.known()[0].fingerprint}
        assert company not in one.allowed_signers()
    with pytest.raises(Conflict):
        signer.rotate()
    assert first.oid in {commit.oid for commit in store.log()}


@needs_gpg
def test_what_gpg_did_not_sign_does_not_hold(tmp_path: Path, company: str) -> None:
    signer = Signer.open(tmp_path / "keys", kind="gpg", gpg_key=company)
    signature = signer.sign(b"payload")
    assert signature.startswith(PGP)
    assert signer.verify(b"payload", signature)
    changed = signer.check(b"other", signature)
    assert (changed.key is not None, changed.holds) == (True, False)
    assert signer.check(b"payload", f"{PGP}\n\nnonsense\n-----END PGP SIGNATURE-----\n").key is None
    stranger = Signer.open(tmp_path / "others")
    assert stranger.check(b"payload", signature) == (None, False)
    with tempfile.TemporaryDirectory(prefix="gpg", dir="/tmp") as folder:
        words = ["--pinentry-mode", "loopback", "--passphrase", "", "--quick-generate-key"]
        gpg(Path(folder), *words, "Other <other@example.org>", "ed25519", "sign", "never")
        (tmp_path / "payload").write_bytes(b"payload")
        other = gpg(Path(folder), "--detach-sign", "--armor", "--output", "-", str(tmp_path / "payload"))
        subprocess.run(["gpgconf", "--homedir", folder, "--kill", "all"], check=False, capture_output=True)
    assert signer.check(b"payload", other) == (None, False)


@needs_gpg
@pytest.mark.parametrize("name", ["", "-x", "nobody@example.org"])
def test_a_key_that_is_not_there_is_told(tmp_path: Path, company: str, name: str) -> None:
    assert company
    with pytest.raises(Unavailable) as caught:
        Signer.open(tmp_path / "keys", kind="gpg", gpg_key=name)
    assert caught.value.code == "signing.gpg"


def test_a_machine_without_gpg_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="no gpg"):
        Signer.open(tmp_path / "keys", kind="gpg", gpg_key="x")
    with pytest.raises(Invalid) as caught:
        Signer.open(tmp_path / "keys", kind="pgp")
    assert caught.value.code == "settings.signing"
    assert Signer.open(tmp_path / "keys").check(b"x", f"{PGP}\n\nx\n") == (None, False)


def test_gpg_that_fails_makes_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = "sec:u:255:22:0:0:0::u:::scESC:::+:::23::0:\\nfpr:::::::::" + "A" * 40 + ":\\n"
    script = f'#!/bin/sh\ncase "$*" in *list-secret*) printf "{listing}";; *export*) echo key;; *) exit $CODE;; esac\n'
    (tmp_path / "gpg").write_text(script)
    (tmp_path / "gpg").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    signer = Signer.open(tmp_path / "keys", kind="gpg", gpg_key="x")
    for code in ("2", "0"):
        monkeypatch.setenv("CODE", code)
        with pytest.raises(Unavailable) as caught:
            LocalGitStore(tmp_path / "x.git", signer=signer, bare=True).commit({"a": b""}, "x", ALICE)
        assert caught.value.code == "signing.gpg"
    assert LocalGitStore(tmp_path / "x.git", signer=signer, bare=True).head() is None
