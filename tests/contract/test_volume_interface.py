"""The contract of the storage seam, on the embedded engine in both forms and on the example of a second store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from memory_store import MemoryStore
from volume_interface import VolumeInterfaceContract

from llmos_lite.engines.git import LocalGitStore, VolumeInterface
from llmos_lite.engines.signing import Signer


@pytest.fixture
def signer() -> Signer:
    return Signer(Ed25519PrivateKey.generate())


class TestWorkTree(VolumeInterfaceContract):
    @pytest.fixture
    def store(self, tmp_path: Path, signer: Signer) -> Iterator[VolumeInterface]:
        store = LocalGitStore(tmp_path / "volume", signer=signer)
        yield store
        store.close()


class TestBare(VolumeInterfaceContract):
    @pytest.fixture
    def store(self, tmp_path: Path, signer: Signer) -> Iterator[VolumeInterface]:
        store = LocalGitStore(tmp_path / "traces.git", signer=signer, bare=True)
        yield store
        store.close()


class TestMemory(VolumeInterfaceContract):
    @pytest.fixture
    def store(self, signer: Signer) -> VolumeInterface:
        return MemoryStore(signer)
