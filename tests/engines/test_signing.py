from __future__ import annotations

import base64
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmos_lite.engines.signing import Signer
from llmos_lite.errors import StorageFailed, Unavailable


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer.open(tmp_path / "keys")


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    first, second = (Signer.open(tmp_path / "keys") for _ in range(2))
    assert first.public_lines == second.public_lines
    assert stat.S_IMODE((tmp_path / "keys/signing_ed25519").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["signing_ed25519", "signing_ed25519.pub"]


def test_starting_at_once_makes_one_key(tmp_path: Path) -> None:
    found: list[tuple[str, ...]] = []

    def start() -> None:
        found.append(Signer.open(tmp_path / "keys").public_lines[:1])

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(payload=st.binary(max_size=2000), other=st.binary(max_size=50))
def test_a_signature_holds_for_its_payload_alone(signer: Signer, payload: bytes, other: bytes) -> None:
    signature = signer.sign(payload)
    assert signer.verify(payload, signature)
    assert signer.verify(payload + other, signature) == (not other)


def test_openssh_agrees(tmp_path: Path, signer: Signer) -> None:
    (tmp_path / "payload.sig").write_text(signer.sign(b"payload"))
    signer.write_allowed_signers(tmp_path / "allowed_signers")
    words = ["-f", tmp_path / "allowed_signers", "-I", "llmos@localhost", "-n", "git", "-s", tmp_path / "payload.sig"]
    assert subprocess.run(["ssh-keygen", "-Y", "verify", *words], input=b"payload", check=False).returncode == 0
    assert subprocess.run(["ssh-keygen", "-Y", "verify", *words], input=b"other", check=False).returncode != 0


def test_a_strangers_signature_does_not_hold(tmp_path: Path, signer: Signer) -> None:
    stranger = Signer.open(tmp_path / "other")
    assert not signer.verify(b"payload", stranger.sign(b"payload"))


@pytest.mark.parametrize("text", ["", "x", "-----BEGIN SSH SIGNATURE-----\n\n-----END SSH SIGNATURE-----", "a\n!!\nb"])
def test_what_is_no_signature_does_not_hold(signer: Signer, text: str) -> None:
    assert not signer.verify(b"payload", text)


def test_a_damaged_signature_does_not_hold(signer: Signer) -> None:
    lines = signer.sign(b"payload").strip().split("\n")
    blob = base64.b64decode("".join(lines[1:-1]))
    for place in range(0, len(blob), 3):
        damaged = blob[:place] + bytes([blob[place] ^ 1]) + blob[place + 1 :]
        text = f"{lines[0]}\n{base64.b64encode(damaged).decode()}\n{lines[-1]}"
        assert not signer.verify(b"payload", text)
        assert not signer.verify(b"payload", f"{lines[0]}\n{base64.b64encode(blob[:place]).decode()}\n{lines[-1]}")


def test_an_earlier_key_stays_known(tmp_path: Path, signer: Signer) -> None:
    signature = signer.sign(b"payload")
    keys = tmp_path / "keys"
    (keys / "signing_ed25519").rename(keys / "old-2026-11")
    (keys / "signing_ed25519.pub").rename(keys / "old-2026-11.pub")
    rotated = Signer.open(keys)
    assert len(rotated.public_lines) == 2
    assert rotated.verify(b"payload", signature)
    rotated.write_allowed_signers(tmp_path / "allowed_signers")
    assert (tmp_path / "allowed_signers").read_text().count('llmos@localhost namespaces="git" ssh-ed25519 ') == 2


def test_the_list_of_signers_is_written_when_it_changed(tmp_path: Path, signer: Signer) -> None:
    path = tmp_path / "allowed_signers"
    signer.write_allowed_signers(path)
    before = path.stat().st_ino
    signer.write_allowed_signers(path)
    assert path.stat().st_ino == before
    path.write_text("")
    signer.write_allowed_signers(path)
    assert path.read_text() == signer.allowed_signers()


def test_a_broken_key_is_never_replaced(tmp_path: Path) -> None:
    other = generate_private_key(SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    for content in (b"garbage", b"", other):
        (tmp_path / "keys").mkdir(exist_ok=True)
        (tmp_path / "keys/signing_ed25519").write_bytes(content)
        with pytest.raises(Unavailable) as caught:
            Signer.open(tmp_path / "keys")
        assert caught.value.code == "signing.broken_key"
        assert (tmp_path / "keys/signing_ed25519").read_bytes() == content


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageFailed):
        Signer.open(tmp_path / "file" / "keys")
