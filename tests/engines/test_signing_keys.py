"""Keys change: the new one signs at once, old commits stay verifiable, and no crash leaves the folder without a key."""

from __future__ import annotations

import shutil
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from llmos_lite.engines import signing_keys
from llmos_lite.engines.signing import Signer
from llmos_lite.engines.signing_keys import CURRENT, LEDGER, NEXT, KeyFolder
from llmos_lite.errors import Conflict, NotFound, StorageFailed, Unavailable


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def openssh(tmp_path: Path, signer: Signer, signature: str, at: str) -> bool:
    """Ask stock OpenSSH, at a time, as git does for a commit of that time."""
    (tmp_path / "sig").write_text(signature)
    signer.write_allowed_signers(tmp_path / "allowed_signers")
    words = ["-f", tmp_path / "allowed_signers", "-I", "llmos@localhost", "-n", "git", "-s", tmp_path / "sig"]
    command: list[str | Path] = ["ssh-keygen", "-Y", "verify", *words, f"-Overify-time={at}"]
    return subprocess.run(command, input=b"x", capture_output=True, check=False).returncode == 0


def test_a_new_key_signs_and_the_old_one_stays_known(tmp_path: Path, keys: Path) -> None:
    signer = Signer.open(keys)
    old, (first,) = signer.sign(b"x"), signer.known()
    fresh = signer.rotate()
    assert [key.state for key in signer.known()] == ["current", "retired"]
    assert signer.known()[1].public == first.public
    assert signer.known()[0] == fresh != first
    checked = signer.check(b"x", signer.sign(b"x"))
    assert checked.holds
    assert checked.key == fresh
    assert signer.verify(b"x", old)
    assert openssh(tmp_path, signer, old, "20200101000000Z")
    assert (keys / f"{CURRENT}.pub").read_text() == f"{fresh.public}\n"
    assert Signer.open(keys).known() == signer.known()
    for name in (CURRENT, LEDGER):
        assert stat.S_IMODE((keys / name).stat().st_mode) == 0o600
    assert not (keys / NEXT).exists()


def test_another_process_signs_with_the_new_key_at_once(keys: Path) -> None:
    one, other = Signer.open(keys), Signer.open(keys)
    fresh = one.rotate()
    assert other.check(b"x", other.sign(b"x")) == (fresh, True)
    assert other.public_lines == one.public_lines


def test_signing_goes_on_while_keys_change(keys: Path) -> None:
    signer, other = Signer.open(keys), Signer.open(keys)
    done, wrong = threading.Event(), list[bytes]()

    def work(one: Signer) -> None:
        number = 0
        while not done.is_set():
            payload, number = b"%d" % number, number + 1
            if not one.check(payload, one.sign(payload)).holds:
                wrong.append(payload)

    threads = [threading.Thread(target=work, args=(one,)) for one in (signer, other)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        signer.rotate()
    done.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(signer.known()) == 6


def test_a_revoked_key_counts_until_its_time(tmp_path: Path, keys: Path) -> None:
    signer = Signer.open(keys)
    old = signer.sign(b"x")
    signer.rotate()
    stolen = signer.known()[1]
    gone = signer.revoke(stolen.fingerprint, 1_700_000_000)  # 2023-11-14 22:13:20
    assert (gone.state, gone.revoked) == ("revoked", 1_700_000_000)
    assert openssh(tmp_path, signer, old, "20231114221320Z")
    assert not openssh(tmp_path, signer, old, "20231114221321Z")
    assert openssh(tmp_path, signer, signer.sign(b"x"), "20300101000000Z")
    assert signer.allowed_signers().splitlines()[-1].endswith(stolen.public)
    signer.rotate()
    assert signer.allowed_signers().splitlines()[-1].endswith(stolen.public)
    assert signer.revoke(stolen.public, 1_800_000_000).revoked == 1_700_000_000
    assert signer.check(b"x", old).key == gone


def test_the_key_that_signs_is_not_revoked_and_an_unknown_one_is_told(keys: Path) -> None:
    signer = Signer.open(keys)
    with pytest.raises(Conflict, match="signs now"):
        signer.revoke(signer.known()[0].fingerprint)
    with pytest.raises(NotFound) as caught:
        signer.revoke("SHA256:none")
    assert caught.value.code == "signing.unknown_key"


def test_a_clock_that_was_ahead_does_not_make_old_commits_look_forged(keys: Path) -> None:
    signer = Signer.open(keys)
    signer.rotate(newest=4_000_000_000)
    assert signer.known()[1].until == 4_000_000_000


def test_a_key_in_memory_cannot_be_changed() -> None:
    signer = Signer(Ed25519PrivateKey.generate())
    with pytest.raises(Unavailable) as caught:
        signer.rotate()
    assert caught.value.code == "signing.in_memory"
    assert signer.verify(b"x", signer.sign(b"x"))


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("step", range(12))
def test_a_kill_at_any_step_leaves_the_old_key_or_the_new_one(
    keys: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Each call that changes the disk is the last one, in turn."""
    signer = Signer.open(keys)
    old = signer.sign(b"x")
    calls = 0

    def counted(name: str) -> None:
        real = getattr(Path, name)

        def call(self: Path, *given: object, **named: object) -> object:
            nonlocal calls
            calls += 1
            if calls > step:
                raise Killed
            return real(self, *given, **named)

        monkeypatch.setattr(Path, name, call)

    with monkeypatch.context() as patch:
        for name in ("replace", "unlink", "write_text"):
            counted(name)
        real = KeyFolder._write

        def write(self: KeyFolder, name: str, data: bytes) -> None:
            nonlocal calls
            calls += 2
            if calls == step + 1:
                (self.folder / name).write_bytes(data[:50])  # torn
            if calls > step:
                raise Killed
            real(self, name, data)

        patch.setattr(KeyFolder, "_write", write)
        try:
            signer.rotate()
        except Killed:
            pass
        else:
            assert step > 5
    monkeypatch.undo()
    found = Signer.open(keys)
    assert found.verify(b"x", old)
    assert found.check(b"x", found.sign(b"x")).holds
    assert found.known()[0].state == "current"
    assert len(found.known()) <= 2
    assert not (keys / NEXT).exists()
    fresh = found.rotate()
    assert Signer.open(keys).known()[0] == fresh


def test_a_new_key_alone_is_put_in_its_place(keys: Path) -> None:
    signer = Signer.open(keys)
    fresh = signer.rotate()
    (keys / CURRENT).rename(keys / NEXT)
    assert Signer.open(keys).known()[0] == fresh
    assert (keys / CURRENT).exists()


def test_a_backup_from_the_middle_never_signs_with_a_retired_key(keys: Path, tmp_path: Path) -> None:
    signer = Signer.open(keys)
    old, before = signer.sign(b"x"), tmp_path / "before"
    shutil.copytree(keys, before)
    fresh = signer.rotate()
    new = signer.sign(b"x")
    shutil.copy(keys / LEDGER, before / LEDGER)  # the new ledger with the old private key
    found = Signer.open(before)
    assert found.known()[0] not in {fresh, *signer.known()}
    assert found.verify(b"x", old)
    assert found.verify(b"x", new)
    assert [key.state for key in found.known()] == ["current", "retired", "retired"]


def test_an_old_ledger_beside_a_new_key_keeps_both(keys: Path) -> None:
    signer = Signer.open(keys)
    signer.rotate()
    ledger = (keys / LEDGER).read_bytes()
    signer.rotate()
    new = signer.sign(b"x")
    (keys / LEDGER).write_bytes(ledger)
    assert Signer.open(keys).verify(b"x", new)


def test_a_broken_ledger_is_told_and_never_replaced(keys: Path) -> None:
    signer = Signer.open(keys)
    signer.rotate()
    for content in (b"", b"{", b"[]", b'{"keys": [{"public": 3}]}', b"\xff"):
        (keys / LEDGER).write_bytes(content)
        with pytest.raises(Unavailable) as caught:
            Signer.open(keys)
        assert caught.value.code == "signing.broken_ledger"
        assert (keys / LEDGER).read_bytes() == content
        assert signer.verify(b"x", signer.sign(b"x"))  # a running server goes on


def test_a_full_disk_leaves_the_old_key(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signer = Signer.open(keys)
    before = signer.known()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(signing_keys.KeyFolder, "_write", full)
    with pytest.raises(StorageFailed) as caught:
        signer.rotate()
    assert caught.value.code == "storage.full"
    assert signer.known() == before


def test_a_key_of_another_instance_is_known_by_its_public_half(keys: Path, tmp_path: Path) -> None:
    other = Signer.open(tmp_path / "other")
    Signer.open(keys)
    shutil.copy(tmp_path / "other" / f"{CURRENT}.pub", keys / "before.pub")
    (keys / "noise.pub").write_text("\n")
    signer = Signer.open(keys)
    signer.rotate()
    assert signer.verify(b"x", other.sign(b"x"))
    assert [key.state for key in signer.known()] == ["current", "retired", "retired"]
