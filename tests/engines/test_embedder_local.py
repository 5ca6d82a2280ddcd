"""The sentence model: against a forward pass that shares no code with it, and with folders that are no model."""

from __future__ import annotations

import json
import math
import shutil
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from llmos_lite.engines import embedder_auto, embedder_static, model_folder
from llmos_lite.engines.embedder_auto import open_embedder, open_patient_embedder
from llmos_lite.engines.embedder_http import HttpEmbedder
from llmos_lite.engines.embedder_local import LocalEmbedder
from llmos_lite.engines.embedder_static import StaticEmbedder
from llmos_lite.engines.model_folder import ModelFolder, packaged
from llmos_lite.errors import Invalid, Unavailable
from llmos_lite.settings import Settings
from tests.embedding import installed

Array = npt.NDArray[np.float64]
_erf = np.vectorize(math.erf)


def forward(folder: ModelFolder, ids: list[int]) -> Array:
    """BERT as the paper has it, in 64 bits, one text at a time: the mean of its last states, at length 1."""
    weights = {name: np.asarray(array, dtype=np.float64) for name, array in folder.tensors().items()}

    def linear(states: Array, name: str) -> Array:
        return states @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def normal(states: Array, name: str) -> Array:
        centred = states - states.mean(axis=1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + folder.shape.epsilon)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    heads, width, length = folder.shape.heads, folder.shape.width, len(ids)
    states = weights["embeddings.word_embeddings.weight"][ids]
    states = states + weights["embeddings.position_embeddings.weight"][:length]
    states = normal(states + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in range(folder.shape.layers):
        at = f"encoder.layer.{layer}."
        query, key, value = (
            linear(states, f"{at}attention.self.{part}").reshape(length, heads, -1).swapaxes(0, 1)
            for part in ("query", "key", "value")
        )
        scores = query @ key.swapaxes(1, 2) / math.sqrt(width // heads)
        shares = np.exp(scores - scores.max(axis=2, keepdims=True))
        shares /= shares.sum(axis=2, keepdims=True)
        mixed = (shares @ value).swapaxes(0, 1).reshape(length, width)
        states = normal(states + linear(mixed, f"{at}attention.output.dense"), f"{at}attention.output.LayerNorm")
        wide = linear(states, f"{at}intermediate.dense")
        wide = wide * (1 + _erf(wide / math.sqrt(2))) / 2
        states = normal(states + linear(wide, f"{at}output.dense"), f"{at}output.LayerNorm")
    mean = states.mean(axis=0)
    return mean / np.linalg.norm(mean)


@installed
def test_it_equals_an_independent_forward_pass() -> None:
    model = LocalEmbedder()
    rows = [[101, 2129, 2079, 102], [101, *range(2000, 2060), 102], [101, 7592, 102]]
    found = model.run(rows)
    expected = np.stack([forward(model.folder, row) for row in rows])
    assert np.abs(found - expected).max() < 5e-7
    assert np.abs(1 - np.sum(found * expected, axis=1)).max() < 1e-6


@installed
def test_a_long_text_counts_by_its_beginning() -> None:
    model = LocalEmbedder()
    first, other = model.embed(["tea " * 1000, "tea " * 300 + "coffee " * 700])
    assert np.allclose(first, other, atol=1e-5)
    model.close()
    assert model.embed(["tea"]).shape == (1, 384)


@installed
def test_a_table_is_made_once_and_one_that_is_damaged_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def distil(_model: LocalEmbedder, tokens: int, dimension: int) -> npt.NDArray[np.float16]:
        made.append(tokens)
        return np.random.default_rng(1).normal(size=(tokens, dimension)).astype(np.float16)

    model = packaged()
    assert model is not None
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(model / name, folder)
    monkeypatch.setattr(embedder_static, "distil", distil)
    first = StaticEmbedder(LocalEmbedder(folder), tmp_path / "data")
    assert not first.quick
    rows = first.embed(["brew tea", ""])
    assert first.quick
    assert not rows[1].any()
    again = StaticEmbedder(LocalEmbedder(folder), tmp_path / "data")
    assert np.array_equal(again.embed(["brew tea", ""]), rows)
    assert made == [30522]
    (path,) = (tmp_path / "data").iterdir()
    path.write_bytes(path.read_bytes()[:-2])
    again.close()
    assert np.array_equal(again.embed(["brew tea", ""]), rows)
    assert made == [30522] * 2
    assert again.make_beside_model()
    assert again.make_beside_model()
    assert made == [30522] * 3
    assert np.array_equal(StaticEmbedder(LocalEmbedder(folder), tmp_path / "other").embed(["brew tea", ""]), rows)
    assert not (tmp_path / "other").exists()


@pytest.fixture
def broken_folder(tmp_path: Path) -> Path:
    config = {"model_type": "bert", "num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 4}
    (tmp_path / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 8}))
    return tmp_path


@pytest.mark.parametrize("config", ["", "[]", "{}", '{"model_type": "gpt2"}', '{"model_type": "bert"}'])
def test_a_folder_that_says_nothing_of_use_is_no_model(tmp_path: Path, config: str) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(Unavailable) as caught:
        LocalEmbedder(tmp_path)
    assert caught.value.code == "embedder.broken"
    assert str(tmp_path.parent) not in caught.value.message


@pytest.mark.parametrize("data", [b"", b"\xff" * 8, b"\x02\0\0\0\0\0\0\0{}", b"\x02\0\0\0\0\0\0\0[]", b"\x90" * 99])
def test_weights_that_are_none_are_an_error(broken_folder: Path, data: bytes) -> None:
    (broken_folder / "model.safetensors").write_bytes(data)
    model = packaged()
    if model is None:
        with pytest.raises(Unavailable):
            LocalEmbedder(broken_folder).embed(["tea"])
        return
    shutil.copy(model / "tokenizer.json", broken_folder)
    with pytest.raises(Unavailable) as caught:
        LocalEmbedder(broken_folder).embed(["tea"])
    assert caught.value.code == "embedder.broken"


def test_a_tokenizer_that_is_none_is_an_error(broken_folder: Path) -> None:
    with pytest.raises(Unavailable, match="tokenizer"):
        LocalEmbedder(broken_folder).embed(["tea"])


def test_nothing_is_installed_and_auto_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_folder, "PACKAGE", "no_such_package_of_weights")
    assert open_embedder(Settings(data=tmp_path)) is None
    for name in ("local", "static"):
        with pytest.raises(Unavailable, match="No sentence model is installed") as caught:
            open_embedder(Settings(data=tmp_path, embedder=name))
        assert caught.value.hint == "Run `make semantic`."


def test_settings_choose(tmp_path: Path) -> None:
    assert open_embedder(Settings(data=tmp_path, embedder="off")) is None
    assert open_embedder(Settings(data=tmp_path, embedder="")) is None
    there = open_embedder(
        Settings(data=tmp_path, embedder="https://api.example.org/v1", embed_model="m", embed_key="k")
    )
    assert isinstance(there, HttpEmbedder)
    assert there.name == "api.example.org:m"
    with pytest.raises(Invalid) as caught:
        open_embedder(Settings(data=tmp_path, embedder="no-such"))
    assert caught.value.code == "settings.embedder"


@installed
def test_auto_takes_what_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedder_auto, "packaged", packaged)
    assert isinstance(open_embedder(Settings(data=tmp_path)), LocalEmbedder)
    fast = Settings(data=tmp_path, embedder="static")
    assert isinstance(open_embedder(fast), StaticEmbedder)
    assert isinstance(open_patient_embedder(fast), LocalEmbedder)


def test_what_is_being_embedded_ends_when_the_model_is_closed() -> None:
    """A process that ended while another thread ran the model was aborted by the runtime."""
    embedder, began, ended = LocalEmbedder(), threading.Event(), threading.Event()
    failed: list[BaseException] = []

    def work() -> None:
        began.set()
        try:
            embedder.embed([f"{number} " + "a long text about nothing " * 200 for number in range(400)])
        except Exception as error:  # noqa: BLE001 - the runtime's own
            failed.append(error)
        ended.set()

    embedder.embed(["warm"])
    threading.Thread(target=work, daemon=True).start()
    began.wait(5)
    embedder.close()
    assert ended.wait(10)
    assert failed
