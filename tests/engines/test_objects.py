from __future__ import annotations

from pathlib import Path

import pytest

from llmos_lite.engines.objects import Objects, StoredObjects
from llmos_lite.errors import Invalid, NotFound, StorageFailed


@pytest.fixture(params=["folder", "file URL", "memory"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    where = {"folder": f"{tmp_path}/store", "file URL": f"file://{tmp_path}/store", "memory": "memory:///"}
    return StoredObjects(where[request.param])


def test_what_is_put_is_read_back_and_listed(objects: Objects, tmp_path: Path) -> None:
    assert objects.listed() == []
    big = tmp_path / "big"
    big.write_bytes(b"0123456789" * 400_000)
    objects.put("users/alice/2026-03.json", b"{}")
    objects.put("users/alice/2026-03-ab.bundle.xz", big)
    objects.put("users/alicia/x", b"x")
    assert objects.read("users/alice/2026-03.json") == b"{}"
    assert b"".join(objects.blocks("users/alice/2026-03-ab.bundle.xz")) == big.read_bytes()
    assert objects.listed("users/alice") == ["users/alice/2026-03-ab.bundle.xz", "users/alice/2026-03.json"]
    objects.put("users/alice/2026-03.json", b"[]")
    assert objects.read("users/alice/2026-03.json") == b"[]"
    objects.remove("users/alice/2026-03.json")
    objects.remove("users/alice/2026-03.json")
    with pytest.raises(NotFound):
        objects.read("users/alice/2026-03.json")
    assert objects.listed("nobody") == []


def test_a_file_in_a_folder_is_private(tmp_path: Path) -> None:
    StoredObjects(str(tmp_path / "store")).put("a/b", b"x")
    assert (tmp_path / "store").stat().st_mode & 0o077 == 0
    assert (tmp_path / "store" / "a" / "b").stat().st_mode & 0o077 == 0


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(Invalid) as caught:
        StoredObjects("gopher://hole/")
    assert caught.value.code == "objects.url"


def test_a_store_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    with pytest.raises(StorageFailed):
        StoredObjects(str(tmp_path / "store")).put("a/b", b"x")
    with pytest.raises(StorageFailed) as caught:
        StoredObjects("memory:///").put("../up", b"x")
    assert caught.value.code == "objects.failed"
