"""Archives in a bucket, through the real protocol of S3: kept, read, brought back, erased; and what goes wrong."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from erasing import MARKER, MINE, Erasing, record, secret
from planted import traces_of
from s3_server import S3, serving
from trace_instance import ALICE, NOV, trace

from llmos_lite.core.traces.archive import Archives
from llmos_lite.core.traces.erase import Eraser
from llmos_lite.engines.objects import StoredObjects
from llmos_lite.errors import Conflict, NotFound, StorageFailed
from llmos_lite.settings import Settings

DAY = 1440


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with serving() as s3:
        yield s3


@pytest.fixture
def bucket(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an empty bucket, with what a person sets in the environment."""
    for name, value in s3.env.items():
        monkeypatch.setenv(name, value)
    s3.request("POST", "/moto-api/reset")
    s3.request("PUT", "/archives")
    yield "s3://archives/llmos"
    s3.faults.clear()
    s3.asked.clear()


def keys(s3: S3) -> list[str]:
    return re.findall("<Key>(.*?)</Key>", s3.request("GET", "/archives?list-type=2").decode())


def test_files_are_put_listed_read_replaced_and_removed(bucket: str, s3: S3, tmp_path: Path) -> None:
    objects = StoredObjects(bucket)
    assert objects.listed() == []
    big = tmp_path / "big"
    big.write_bytes(os.urandom(6 << 20))
    objects.put("users/alice/2026-03.json", b"{}")
    objects.put("users/alice/2026-03-ab.bundle.xz", big)
    assert any("partNumber=2" in asked for asked in s3.asked), "a large file goes up in parts"
    assert b"".join(objects.blocks("users/alice/2026-03-ab.bundle.xz")) == big.read_bytes()
    assert objects.listed("users/alice") == ["users/alice/2026-03-ab.bundle.xz", "users/alice/2026-03.json"]
    assert keys(s3) == ["llmos/users/alice/2026-03-ab.bundle.xz", "llmos/users/alice/2026-03.json"]
    objects.put("users/alice/2026-03.json", b"[]")
    assert objects.read("users/alice/2026-03.json") == b"[]"
    for _ in range(2):
        objects.remove("users/alice/2026-03.json")
    with pytest.raises(NotFound):
        objects.read("users/alice/2026-03.json")


def test_half_an_upload_is_no_file_and_takes_no_room(bucket: str, s3: S3, tmp_path: Path) -> None:
    objects = StoredObjects(bucket)
    big = tmp_path / "big"
    big.write_bytes(bytes(11 << 20))
    objects.put("month", b"the one before")
    s3.faults.append(lambda asked: "403 Forbidden" if "partNumber=2" in asked["QUERY_STRING"] else None)
    with pytest.raises(StorageFailed) as caught:
        objects.put("month", big)
    assert caught.value.code == "objects.failed"
    s3.faults.clear()
    assert objects.read("month") == b"the one before"
    assert b"<UploadId>" not in s3.request("GET", "/archives?uploads"), "the parts that went up were removed"
    objects.put("month", big)
    assert objects.read("month") == big.read_bytes()


@pytest.mark.parametrize("what", ["listed", "read", "put", "remove"])
def test_wrong_credentials_are_told(bucket: str, s3: S3, what: str) -> None:
    s3.request("POST", "/moto-api/reset-auth", b"0")
    try:
        with pytest.raises(StorageFailed) as caught:
            _use(StoredObjects(bucket), what)
    finally:
        s3.request("POST", "/moto-api/reset-auth", b"Infinity")
    assert caught.value.code == "objects.failed"
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("what", ["listed", "read", "put", "remove"])
def test_a_bucket_that_vanished_is_told(bucket: str, s3: S3, what: str) -> None:
    objects = StoredObjects(bucket)
    assert objects.listed() == []
    s3.request("DELETE", "/archives")
    with pytest.raises(StorageFailed) as caught:
        _use(objects, what)
    assert caught.value.code == "objects.failed"


def _use(objects: StoredObjects, what: str) -> None:
    if what == "put":
        objects.put("key", b"x")
    elif what == "listed":
        objects.listed()
    else:
        getattr(objects, what)("key")


# Archives


class InBucket(Erasing):
    """An instance whose archives are in a bucket, as LLMOS_ARCHIVE_URL says."""

    def __init__(self, data: Path, url: str) -> None:
        super().__init__(data)
        settings = Settings.parse({"LLMOS_DATA": str(data), "LLMOS_ARCHIVE_URL": url})
        objects = StoredObjects(settings.archive_url)
        self.archives = Archives(self.volumes, self.catalog, self.log, objects, data / "tmp")
        self.eraser = Eraser(data, self.volumes, self.catalog, self.log, self.archives)


@pytest.fixture
async def instance(tmp_path: Path, bucket: str) -> AsyncIterator[InBucket]:
    from llmos_lite.records import schema  # noqa: PLC0415

    instance = InBucket(tmp_path / "data", bucket)
    await schema.prepare(instance.database)
    march = [secret(number - 245 * DAY, share="none") for number in range(3)]
    await instance.log.store_many(MINE, [*march, trace(-244 * DAY), trace(1)])
    await record(instance, trace(5))
    yield instance
    await instance.close()


def fetched(bucket: str, folder: Path) -> Path:
    """Return a folder with all that the bucket holds."""
    folder.mkdir()
    objects = StoredObjects(bucket.rpartition("/")[0])
    for key in objects.listed():
        (folder / key.replace("/", "_")).write_bytes(objects.read(key))
    return folder


async def test_a_month_goes_into_the_bucket_and_comes_back(
    instance: InBucket, bucket: str, s3: S3, tmp_path: Path
) -> None:
    rows = (await instance.log.page(ALICE)).items
    done = await instance.archives.archive(ALICE, "2026-03")
    assert keys(s3) == [f"llmos/users/alice/{done.bundle}", "llmos/users/alice/2026-03.json"]
    assert traces_of(fetched(bucket, tmp_path / "fetched"), MARKER), "it is there, and not here"
    instance.volumes.forget_traces(MINE)
    assert not list((instance.data / "archive").rglob("*"))
    with pytest.raises(Conflict) as caught:
        await instance.log.get(ALICE, rows[-1].trace_id)
    assert caught.value.code == "trace.archived"
    assert await instance.archives.listed(ALICE) == [done]
    await instance.archives.restore(ALICE, "2026-03")
    assert (await instance.log.get(ALICE, rows[-1].trace_id)).trace.goal == rows[-1].goal
    assert [key for key in keys(s3) if "bundle" in key] == []


async def test_what_is_erased_is_erased_in_the_bucket(instance: InBucket, bucket: str, s3: S3, tmp_path: Path) -> None:
    await instance.archives.archive(ALICE, "2026-03")
    for number in range(3):
        report = await instance.eraser.erase(ALICE, secret(number - 245 * DAY).id)
        assert report.unfinished == {}
    assert traces_of(fetched(bucket, tmp_path / "fetched"), MARKER) == []
    assert traces_of(instance.data, MARKER) == []
    assert len(keys(s3)) == 2
    assert (await instance.archives.restore(ALICE, "2026-03")).traces == 1


@pytest.mark.parametrize("key", ["bundle", "json"])
async def test_a_bucket_that_refuses_leaves_the_month_where_it_was(instance: InBucket, s3: S3, key: str) -> None:
    rows = (await instance.log.page(ALICE)).items
    s3.faults.append(
        lambda asked: "403 Forbidden" if asked["REQUEST_METHOD"] == "PUT" and key in asked["PATH_INFO"] else None
    )
    with pytest.raises(StorageFailed):
        await instance.archives.archive(ALICE, "2026-03")
    assert [(await instance.log.get(ALICE, row.trace_id)).trace.goal for row in rows] == [row.goal for row in rows]
    s3.faults.clear()
    assert await instance.archives.listed(ALICE) == []
    await instance.archives.finish(MINE)
    assert keys(s3) == [], "half of it is removed"
    assert (await instance.archives.archive(ALICE, "2026-03")).first >= NOV - 245 * DAY * 60_000
