"""Tests of the static checkpoint validation, on real files made for each case."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

import mlx_preflight
from mlx_preflight.core.errors import CheckpointError
from mlx_preflight.models import checkpoint as c
from mlx_preflight.models import files, source, values
from mlx_preflight.models.dtypes import stored_dtype
from mlx_preflight.models.validation import validate

HIDDEN, HEADS, KV_HEADS, INTERMEDIATE, LAYERS, VOCAB = 64, 4, 2, 128, 2, 100
EMBEDDED = Path(mlx_preflight.__file__).parent / "models/embedded"

CONFIG: dict[str, Any] = {
    "model_type": "qwen2",
    "hidden_size": HIDDEN,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "intermediate_size": INTERMEDIATE,
    "num_hidden_layers": LAYERS,
    "vocab_size": VOCAB,
    "tie_word_embeddings": True,
    "torch_dtype": "float32",
    "eos_token_id": 90,
}
TOKENIZER: dict[str, Any] = {
    "model": {"type": "BPE", "vocab": {f"t{number}": number for number in range(90)}},
    "added_tokens": [{"id": 90, "content": "<|end|>"}, {"id": 91, "content": "<|pad|>"}],
}
TOKENIZER_CONFIG: dict[str, Any] = {
    "eos_token": "<|end|>",
    "pad_token": {"content": "<|pad|>"},
    "unk_token": None,
    "add_bos_token": False,
    "chat_template": "{{ messages }}",
    "added_tokens_decoder": {"90": {"content": "<|end|>"}},
}
Arrays = dict[str, "np.ndarray[Any, Any]"]


def shapes(family: str = "qwen2") -> dict[str, tuple[int, ...]]:
    head = HIDDEN // HEADS
    found: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (VOCAB, HIDDEN),
        "model.norm.weight": (HIDDEN,),
    }
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        for name, rows in (("q", HIDDEN), ("k", KV_HEADS * head), ("v", KV_HEADS * head)):
            found[f"{prefix}self_attn.{name}_proj.weight"] = (rows, HIDDEN)
            if family == "qwen2":
                found[f"{prefix}self_attn.{name}_proj.bias"] = (rows,)
        found[f"{prefix}self_attn.o_proj.weight"] = (HIDDEN, HIDDEN)
        found[f"{prefix}mlp.gate_proj.weight"] = (INTERMEDIATE, HIDDEN)
        found[f"{prefix}mlp.up_proj.weight"] = (INTERMEDIATE, HIDDEN)
        found[f"{prefix}mlp.down_proj.weight"] = (HIDDEN, INTERMEDIATE)
        found[f"{prefix}input_layernorm.weight"] = (HIDDEN,)
        found[f"{prefix}post_attention_layernorm.weight"] = (HIDDEN,)
        if family == "qwen3":
            found[f"{prefix}self_attn.q_norm.weight"] = (head,)
            found[f"{prefix}self_attn.k_norm.weight"] = (head,)
    return found


def arrays(family: str = "qwen2") -> Arrays:
    return {name: np.full(shape, 0.5, np.float32) for name, shape in shapes(family).items()}


def quantized(bits: int = 4, group: int = 32, plain: str = "") -> Arrays:
    """Return arrays laid out as `mlx.core.quantize` lays them out."""
    random = np.random.default_rng(1)
    found: Arrays = {}
    for name, array in arrays().items():
        if array.ndim == 1 or (plain and plain in name):
            found[name] = array
            continue
        rows, columns = array.shape
        module = name.removesuffix(".weight")
        words = (rows, columns * bits // 32)
        found[name] = random.integers(0, 2**32, words, dtype=np.uint32)
        found[f"{module}.scales"] = np.ones((rows, columns // group), np.float32)
        found[f"{module}.biases"] = np.ones((rows, columns // group), np.float32)
    return found


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def make(folder: Path, tensors: Arrays | None = None, **config: Any) -> Path:
    """Write a complete checkpoint; a config key set to None is left out."""
    folder.mkdir(parents=True, exist_ok=True)
    merged = {key: value for key, value in {**CONFIG, **config}.items() if value is not None}
    write_json(folder / "config.json", merged)
    write_json(folder / "tokenizer.json", TOKENIZER)
    write_json(folder / "tokenizer_config.json", TOKENIZER_CONFIG)
    save_file(arrays() if tensors is None else tensors, folder / "model.safetensors")
    return folder


def make_sharded(folder: Path, *, index: bool = True) -> Path:
    make(folder)
    (folder / "model.safetensors").unlink()
    names = sorted(arrays())
    weight_map = {}
    for number, part in enumerate((names[:10], names[10:]), start=1):
        shard = f"model-{number:05d}-of-00002.safetensors"
        save_file({name: arrays()[name] for name in part}, folder / shard)
        weight_map.update(dict.fromkeys(part, shard))
    if index:
        write_json(folder / "model.safetensors.index.json", {"weight_map": weight_map})
    return folder


def edit_index(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    change(index["weight_map"])
    write_json(path, index)


def write_raw(folder: Path, tensors: dict[str, tuple[str, list[int], bytes]]) -> Path:
    """Write tensors of dtypes that numpy does not have."""
    header, data = {}, b""
    for name, (dtype, shape, content) in tensors.items():
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        data += content
    raw = json.dumps(header).encode()
    path = make(folder) / "model.safetensors"
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + data)
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        c.inspect(folder)
    assert caught.value.hint
    assert str(folder) in str(caught.value)
    return str(caught.value)


def shape_problems(folder: Path) -> tuple[str, ...]:
    result = c.check_shapes(c.inspect(folder))
    assert result.checked
    assert result.reason == ""
    return result.problems


def test_a_valid_checkpoint_passes_every_check(tmp_path: Path) -> None:
    """A complete folder is described exactly and no check finds anything."""
    cp = c.inspect(make(tmp_path))
    expected = sum(int(np.prod(shape)) for shape in shapes().values())
    assert cp.parameters == expected
    assert cp.weight_bytes == 4 * expected
    assert cp.total_bytes == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert cp.files == ("model.safetensors",)
    assert cp.tokenizer_files == ("tokenizer.json",)
    assert (cp.tied, cp.has_chat_template, cp.quantization) == (True, True, None)
    assert (cp.vocab_size, cp.embedding_rows) == (VOCAB, VOCAB)
    assert (cp.unreferenced, cp.pickles, cp.remote_code) == ((), (), ())
    assert c.check_shapes(cp) == c.ShapeCheck(True, "", ())
    assert c.check_dtypes(cp) == []
    assert c.check_vocabulary(cp) == []
    assert c.check_values(cp) == c.ValueCheck(len(shapes()), expected, {}, ())


def test_folders_that_are_none_are_refused(tmp_path: Path) -> None:
    """A missing folder, a file, and an empty folder each have a message."""
    (tmp_path / "file").write_text("x", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("gone")
    assert "does not exist" in refusal(tmp_path / "absent")
    assert "not a folder" in refusal(tmp_path / "file")
    assert "not a folder" in refusal(tmp_path / "link")
    assert "is empty" in refusal(tmp_path / "empty")


def test_unlistable_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that may not be listed gives its reason instead of a traceback."""

    def denied(self: Path) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", denied)
    assert "cannot be listed: Permission denied" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not valid JSON"),
        (b"[1]", "a JSON list where an object"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"a": 1, "a": 2}', "occurs twice"),
        (b" " * (files.MAX_CONFIG_BYTES + 1), "larger than"),
    ],
)
@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_damaged_json_is_refused(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    """Every JSON file is bounded, decoded and parsed with a message of its own."""
    (make(tmp_path) / name).write_bytes(content)
    message = refusal(tmp_path)
    assert said in message
    assert name in message


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("config.json", "has no config.json"),
        ("tokenizer_config.json", "has no tokenizer_config.json"),
        ("tokenizer.json", "has no tokenizer; expected tokenizer.json or tokenizer.model"),
        ("model.safetensors", "has no weights named model*.safetensors"),
    ],
)
def test_missing_file_is_refused(tmp_path: Path, name: str, said: str) -> None:
    """Each file that loading needs is named when it is absent."""
    (make(tmp_path) / name).unlink()
    assert said in refusal(tmp_path)


@pytest.mark.parametrize("present", [("tokenizer.model",), ("vocab.json", "merges.txt")])
def test_other_tokenizer_files_are_accepted_but_not_compared(
    tmp_path: Path, present: tuple[str, ...]
) -> None:
    """A tokenizer without tokenizer.json loads, and its vocabulary is said to be unchecked."""
    (make(tmp_path) / "tokenizer.json").unlink()
    for name in present:
        (tmp_path / name).write_text("x", encoding="utf-8")
    cp = c.inspect(tmp_path)
    assert cp.tokenizer_files == present
    assert c.check_vocabulary(cp)[0].startswith("Not checked")


def test_adapter_folder_is_recognised(tmp_path: Path) -> None:
    """A LoRA adapter is refused with the hint to give its base model."""
    (make(tmp_path) / "model.safetensors").rename(tmp_path / "adapters.safetensors")
    write_json(tmp_path / "adapter_config.json", {})
    with pytest.raises(CheckpointError, match=r"it holds 'adapters\.safetensors'") as caught:
        c.inspect(tmp_path)
    assert "base model" in caught.value.hint


def test_truncated_weights_are_refused(tmp_path: Path) -> None:
    """A weights file that lost its end is refused before anything loads it."""
    path = make(tmp_path) / "model.safetensors"
    os.truncate(path, path.stat().st_size // 2)
    assert "is truncated" in refusal(tmp_path)


def test_weights_without_tensors_are_refused(tmp_path: Path) -> None:
    """A valid file with no tensor is not a model."""
    assert "hold no tensor" in refusal(make(tmp_path, {}))


opened: list[str] = []


def _record(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        opened.append(str(arguments[0]))


class Payload:
    """Create a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "m.pt", "m.pth", "m.CKPT", "m.pkl"])
def test_pickles_are_refused_and_never_opened(tmp_path: Path, name: str) -> None:
    """Pickle-only weights are refused by name, whatever their extension."""
    folder = make(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps(Payload(tmp_path / "executed")))
    if not opened:
        sys.addaudithook(_record)
    opened.clear()
    message = refusal(folder)
    assert "pickles" in message
    assert name in message
    assert any(path.endswith("config.json") for path in opened)
    assert not any(path.endswith(name) for path in opened)
    assert not (tmp_path / "executed").exists()


def test_pickle_beside_safetensors_is_recorded(tmp_path: Path) -> None:
    """Pickles that loading ignores do not refuse the checkpoint but are named."""
    os.mkfifo(make(tmp_path) / "pytorch_model.bin")
    assert c.inspect(tmp_path).pickles == ("pytorch_model.bin",)


def test_fifo_in_place_of_a_config_does_not_block(tmp_path: Path) -> None:
    """A FIFO named config.json is refused at once."""
    (make(tmp_path) / "config.json").unlink()
    os.mkfifo(tmp_path / "config.json")
    assert "not a regular file" in refusal(tmp_path)


@pytest.mark.parametrize("index", [True, False])
def test_sharded_checkpoint_equals_the_single_file(tmp_path: Path, index: Any) -> None:
    """Shards with or without an index hold the same tensors as one file."""
    one = c.inspect(make(tmp_path / "one"))
    two = c.inspect(make_sharded(tmp_path / "two", index=index))
    assert set(two.tensors) == set(one.tensors)
    assert two.parameters == one.parameters
    assert len(two.files) == 2
    assert c.check_shapes(two).problems == ()
    assert c.check_values(two) == c.check_values(one)


@pytest.mark.parametrize("index", [True, False])
def test_missing_shard_is_named(tmp_path: Path, index: Any) -> None:
    """A shard that the index or the numbering promises is named when absent."""
    folder = make_sharded(tmp_path, index=index)
    (folder / "model-00002-of-00002.safetensors").unlink()
    assert "missing: 'model-00002-of-00002.safetensors'" in refusal(folder)


@pytest.mark.parametrize("index", [True, False])
def test_shard_names_may_have_numbers_of_two_widths(tmp_path: Path, index: Any) -> None:
    """DeepSeek's have five digits and six: all are there, or the absent one is named once."""
    folder = make_sharded(tmp_path, index=index)
    for number in (1, 2):
        old = f"model-{number:05d}-of-00002.safetensors"
        (folder / old).rename(folder / f"model-{number:05d}-of-000002.safetensors")
    if index:
        edit_index(folder, lambda m: m.update({k: v[:15] + "0" + v[15:] for k, v in m.items()}))
    assert len(c.inspect(folder).tensors) == len(arrays())
    (folder / "model-00002-of-000002.safetensors").unlink()
    said = refusal(folder)
    assert "1 of 2 weights files are missing" in said
    assert "'model-00002-of-000002.safetensors'" in said


def test_absurd_shard_count_is_refused(tmp_path: Path) -> None:
    """A name that promises a million shards is refused instead of being listed."""
    folder = make(tmp_path)
    (folder / "model.safetensors").rename(folder / "model-000001-of-999999.safetensors")
    assert "claims 999,999 weights files" in refusal(folder)


@pytest.mark.parametrize(
    ("shard", "said"),
    [
        ("../../etc/passwd", "not a plain file name"),
        ("/etc/passwd", "not a plain file name"),
        ("..", "not a plain file name"),
        ("a\\b", "not a plain file name"),
        ("a\0", "not a plain file name"),
        ("weights.safetensors", "reads model*.safetensors only"),
        (7, "not to a file name"),
    ],
)
def test_index_naming_a_foreign_path_is_refused(tmp_path: Path, shard: Any, said: str) -> None:
    """An index may name nothing but loadable files in the folder itself."""
    edit_index(make_sharded(tmp_path), lambda m: m.update({"model.norm.weight": shard}))
    assert said in refusal(tmp_path)


def test_index_that_disagrees_with_the_shards_is_refused(tmp_path: Path) -> None:
    """Every mapped tensor is in its shard and every tensor of a shard is mapped."""
    first = "model-00001-of-00002.safetensors"
    for number, (change, said) in enumerate(
        [
            (lambda m: m.update({"ghost": first}), "'ghost' is mapped to"),
            (lambda m: m.update({"model.norm.weight": first}), "but found in"),
            (lambda m: m.pop("model.norm.weight"), "does not map 1 tensors"),
        ]
    ):
        folder = make_sharded(tmp_path / str(number))
        edit_index(folder, change)
        assert said in refusal(folder)


@pytest.mark.parametrize("index", [{}, {"weight_map": []}, {"weight_map": {}}])
def test_index_without_a_map_is_refused(tmp_path: Path, index: Any) -> None:
    """An index must hold a map with at least one tensor."""
    write_json(make(tmp_path) / "model.safetensors.index.json", index)
    assert "weight_map is" in refusal(tmp_path)


def test_an_index_of_other_files_is_noted(tmp_path: Path) -> None:
    """That of the source beside one file, or of five shards beside two: mlx-lm reads no index."""
    folder = make(tmp_path)
    five = {name: f"model-0000{n % 5 + 1}-of-00005.safetensors" for n, name in enumerate(arrays())}
    write_json(folder / "model.safetensors.index.json", {"weight_map": five})
    found = c.inspect(folder)
    assert (len(found.tensors), len(found.stale_index)) == (len(arrays()), len(set(five.values())))
    report = validate(found, chat=False)
    assert report.problems == ()
    assert any("files that do not exist" in note for note in report.notes)
    edit_index(
        folder, lambda m: m.update({"model.extra.weight": "model-00005-of-00005.safetensors"})
    )
    said = refusal(folder)
    assert "weights files that the index names are missing" in said
    assert "1 tensors are in no other file: 'model.extra.weight'" in said


def test_unreferenced_shard_is_reported(tmp_path: Path) -> None:
    """Weights that the index does not name are reported, for MLX-LM loads them too."""
    folder = make_sharded(tmp_path)
    save_file({"stray": np.ones(1, np.float32)}, folder / "model-old.safetensors")
    cp = c.inspect(folder)
    assert cp.unreferenced == ("model-old.safetensors",)
    assert "stray" not in cp.tensors
    assert "model-old.safetensors" in c.digests(cp)


def test_tensor_in_two_files_is_refused(tmp_path: Path) -> None:
    """Two values of one tensor would make the loaded model depend on directory order."""
    save_file({"model.norm.weight": np.ones(1, np.float32)}, make(tmp_path) / "model2.safetensors")
    assert "is in model.safetensors and in model2.safetensors" in refusal(tmp_path)


def test_links_of_a_hub_cache_are_followed_and_others_refused(tmp_path: Path) -> None:
    """A link into the cache's blobs is read; a link to anywhere else is not."""
    snapshot = make(tmp_path / "models--a--b" / "snapshots" / "rev")
    blobs = tmp_path / "models--a--b" / "blobs"
    blobs.mkdir()
    (snapshot / "model.safetensors").rename(blobs / "abc")
    (snapshot / "model.safetensors").symlink_to("../../blobs/abc")
    assert c.check_values(c.inspect(snapshot)).tensors == len(shapes())
    (blobs / "abc").rename(tmp_path / "outside")
    assert "broken link" in refusal(snapshot)
    (snapshot / "model.safetensors").unlink()
    (snapshot / "model.safetensors").symlink_to(tmp_path / "outside")
    assert "outside the checkpoint folder" in refusal(snapshot)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json"])
def test_links_out_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    """No JSON file of the folder may be a link to a file elsewhere."""
    folder = make(tmp_path / "model")
    (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    assert "outside the checkpoint folder" in refusal(folder)


def test_remote_code_is_recorded(tmp_path: Path) -> None:
    """Everything that asks to execute Python of the folder is listed."""
    folder = make(tmp_path, auto_map={"AutoModel": "evil.Model"}, model_file="evil.py")
    (folder / "evil.py").write_text("raise SystemExit", encoding="utf-8")
    found = "\n".join(c.inspect(folder).remote_code)
    assert "evil.py in the folder" in found
    assert "auto_map" in found
    assert "model_file" in found


@pytest.mark.parametrize(
    ("name", "content", "present"),
    [
        ("none", "", False),
        ("chat_template.jinja", "{{ messages }}", True),
        ("chat_template.json", '{"chat_template": "x"}', False),
        ("tokenizer_config.json", '{"chat_template_type": "deepseek_v32"}', True),
    ],
)
def test_chat_template_is_found_where_tokenizers_read_it(
    tmp_path: Path, name: str, content: str, present: bool
) -> None:
    """A file of its own counts, and mlx_lm's own templates; a processor's file does not."""
    folder = make(tmp_path)
    write_json(folder / "tokenizer_config.json", {"eos_token": "<|end|>"})
    (folder / name).write_text(content, encoding="utf-8")
    assert c.inspect(folder).has_chat_template is present


@pytest.mark.parametrize(
    "value",
    [
        "x",
        {"bits": 4},
        {"bits": 7, "group_size": 64},
        {"bits": 4, "group_size": 16},
        {"bits": 4, "group_size": 32, "mode": "nvfp4"},
        {"bits": 4, "group_size": 64, "mode": "new"},
        {"bits": 4, "group_size": 64, "model.norm": {"mode": []}},
        {},
        4,
    ],
)
def test_malformed_quantization_is_refused(tmp_path: Path, value: Any) -> None:
    """Bits and group sizes that MLX does not have are refused."""
    assert "quantization" in refusal(make(tmp_path, quantization=value))


def test_malformed_tie_is_refused(tmp_path: Path) -> None:
    """A tie that is no boolean would be read as true or false by chance."""
    assert "tie_word_embeddings is 'no'" in refusal(make(tmp_path, tie_word_embeddings="no"))


@pytest.mark.parametrize(("bits", "group"), [(2, 32), (3, 64), (4, 32), (4, 64), (6, 64), (8, 32)])
def test_quantized_checkpoint_passes_and_counts_logical_parameters(
    tmp_path: Path, bits: int, group: int
) -> None:
    """Packed weights have the shapes of mlx and count as what they unpack to."""
    declared = {"bits": bits, "group_size": group}
    cp = c.inspect(make(tmp_path, quantized(bits, group), quantization=declared))
    assert cp.parameters == sum(int(np.prod(shape)) for shape in shapes().values())
    assert c.check_shapes(cp).problems == ()
    assert c.check_dtypes(cp) == []
    assert c.check_values(cp).nonfinite == {}


def test_quantization_without_biases_passes(tmp_path: Path) -> None:
    """The modes with one-byte scales have no group biases, and need none."""
    tensors = {
        name: array.astype(np.uint8) if name.endswith(".scales") else array
        for name, array in quantized().items()
        if not name.endswith(".biases")
    }
    declared = {"bits": 4, "group_size": 32, "mode": "mxfp4"}
    cp = c.inspect(make(tmp_path, tensors, quantization=declared))
    assert c.check_shapes(cp).problems == ()
    assert c.check_dtypes(cp) == []


def test_modules_left_unquantized_are_accepted(tmp_path: Path) -> None:
    """A module without scales keeps its plain shape beside quantized ones."""
    declared = {"bits": 4, "group_size": 32, "model.layers.0.mlp.down_proj": False}
    folder = make(tmp_path, quantized(plain="layers.0.mlp.down_proj"), quantization=declared)
    assert shape_problems(folder) == ()


@pytest.mark.parametrize(
    ("tensors", "declared", "said"),
    [
        (quantized(8), {"bits": 4, "group_size": 32}, "config.json implies [100, 8]"),
        (quantized(4, 64), {"bits": 4, "group_size": 32}, "scales of model.safetensors has shape"),
        (quantized(), {"bits": 4, "group_size": 128}, "cannot be quantized"),
        (quantized(), None, "does not say that it is quantized"),
        (
            quantized(),
            {"bits": 4, "group_size": 32, "model.embed_tokens": False},
            "model.embed_tokens has scales",
        ),
        (
            quantized(),
            {"bits": 4, "group_size": 32, "model.embed_tokens": {"bits": 8}},
            "config.json implies [100, 16]",
        ),
    ],
)
def test_quantized_shapes_that_disagree_are_problems(
    tmp_path: Path, tensors: Arrays, declared: Any, said: str
) -> None:
    """Wrong bits, wrong groups and undeclared quantization are each found."""
    assert said in "\n".join(shape_problems(make(tmp_path, tensors, quantization=declared)))


def test_packed_weight_of_a_float_dtype_is_a_problem(tmp_path: Path) -> None:
    """A module with scales must hold words of 32 bits."""
    tensors = quantized()
    tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"].astype(np.float32)
    folder = make(tmp_path, tensors, quantization={"bits": 4, "group_size": 32})
    assert "packed weights are U32" in "\n".join(shape_problems(folder))


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "llama", "mistral"])
def test_each_family_has_its_own_tensors(tmp_path: Path, family: str) -> None:
    """Biases belong to Qwen2 and head norms to Qwen3; another family's are problems."""
    assert shape_problems(make(tmp_path / "own", arrays(family), model_type=family)) == ()
    other = "qwen3" if family == "qwen2" else "qwen2"
    assert shape_problems(make(tmp_path / "other", arrays(other), model_type=family))


def test_biases_of_llama_follow_the_config(tmp_path: Path) -> None:
    """attention_bias and mlp_bias each add the biases that mlx_lm's Llama has."""
    tensors = arrays()
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        tensors[f"{prefix}self_attn.o_proj.bias"] = np.ones(HIDDEN, np.float32)
        for name, rows in (("gate", INTERMEDIATE), ("up", INTERMEDIATE), ("down", HIDDEN)):
            tensors[f"{prefix}mlp.{name}_proj.bias"] = np.ones(rows, np.float32)
    biased = make(tmp_path, tensors, model_type="llama", attention_bias=True, mlp_bias=True)
    assert shape_problems(biased) == ()
    assert len(shape_problems(make(tmp_path, tensors, model_type="llama"))) == 7 * LAYERS


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"hidden_size": 128}, "config.json implies [100, 128]"),
        ({"vocab_size": 101}, "config.json implies [101, 64]"),
        ({"num_key_value_heads": 4}, "k_proj.weight of model.safetensors has shape [32, 64]"),
        ({"num_key_value_heads": 3}, "cannot share 3"),
        ({"num_attention_heads": 5}, "no multiple of 5 heads"),
        ({"intermediate_size": None}, "intermediate_size is None"),
        ({"hidden_size": "64"}, "hidden_size is '64'"),
        ({"num_hidden_layers": 3}, "layer 2 of num_hidden_layers 3 has no tensor"),
        ({"num_hidden_layers": 1}, "layer 1 (12 tensors) is beyond num_hidden_layers 1"),
        ({"num_hidden_layers": 10**12}, "there are only 26 tensors"),
        ({"tie_word_embeddings": False}, "lm_head.weight is missing"),
        ({"head_dim": 7, "model_type": "llama"}, "config.json implies [28, 64]"),
    ],
)
def test_shapes_that_disagree_with_the_config_are_problems(
    tmp_path: Path, config: dict[str, Any], said: str
) -> None:
    """Each number of the config is compared with the tensors."""
    assert said in "\n".join(shape_problems(make(tmp_path, **config)))


def test_missing_and_unknown_tensors_are_problems(tmp_path: Path) -> None:
    """A tensor that is absent and one that nobody expects are both named."""
    tensors = arrays()
    tensors["model.surprise"] = tensors.pop("model.norm.weight")
    problems = "\n".join(shape_problems(make(tmp_path, tensors)))
    assert "model.norm.weight is missing" in problems
    assert "model.surprise is not a tensor of" in problems


def test_many_problems_are_cut(tmp_path: Path) -> None:
    """A wholly wrong checkpoint gives a bounded list that says how much is left."""
    tensors = {f"x{number}": np.ones(1, np.float32) for number in range(100)}
    problems = shape_problems(make(tmp_path, tensors))
    assert len(problems) == 51
    assert problems[-1].startswith("and ")


def test_output_layer_is_compared_with_the_tie(tmp_path: Path) -> None:
    """An untied head is required, a tied one is dropped, and a missing key is a problem."""
    tensors = {**arrays(), "lm_head.weight": np.ones((VOCAB, HIDDEN), np.float32)}
    untied = make(tmp_path / "untied", tensors, tie_word_embeddings=False)
    tied = make(tmp_path / "tied", tensors)
    silent = make(tmp_path / "silent", tensors, tie_word_embeddings=None)
    assert shape_problems(untied) == ()
    assert shape_problems(tied) == ()
    assert c.inspect(untied).parameters - c.inspect(tied).parameters == VOCAB * HIDDEN
    assert "lacks tie_word_embeddings" in shape_problems(silent)[0]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "mamba"}, "'mamba' is not one of"),
        ({"model_type": None}, "None is not one of"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "quantized by"),
    ],
)
def test_unknown_layouts_are_not_called_checked(
    tmp_path: Path, config: dict[str, Any], said: str
) -> None:
    """Shapes that nobody knows are reported as unchecked, not as right."""
    result = c.check_shapes(c.inspect(make(tmp_path, **config)))
    assert not result.checked
    assert said in result.reason


def halved(*, but: str = "norm") -> Arrays:
    """Return arrays in F16, apart from those whose name holds a word."""
    return {
        name: array if but in name else array.astype(np.float16) for name, array in arrays().items()
    }


def test_dtypes_that_the_config_names_need_no_word(tmp_path: Path) -> None:
    """The declared type, norms in F32 beside it, and a config that names none."""
    for number, dtype in enumerate(("float16", "torch.float16", None)):
        folder = make(tmp_path / str(number), halved(), torch_dtype=dtype)
        assert c.check_dtypes(c.inspect(folder)) == []


@pytest.mark.parametrize(
    ("tensors", "dtype", "said"),
    [
        (arrays(), "bfloat16", "says dtype 'bfloat16', and 26 of 26 tensors are F32"),
        (halved(), "bfloat16", "and 21 of 26 tensors are F16, 5 of 26 tensors are F32"),
        (halved(but=".bias"), "float16", "says dtype 'float16', and 6 of 26 tensors are F32"),
        (arrays(), "auto", "says dtype 'auto', and 26 of 26 tensors are F32"),
        (arrays(), "int3", "says dtype 'int3', and 26 of 26 tensors are F32"),
    ],
    ids=["F32", "convert --dtype", "biases", "auto", "unknown"],
)
def test_floats_of_another_type_than_the_config_says_are_noted(
    tmp_path: Path, tensors: Arrays, dtype: str, said: str
) -> None:
    """mlx_lm loads the bytes and does not read the key; its own convert leaves it as it was."""
    found = c.inspect(make(tmp_path, tensors, torch_dtype=dtype))
    (note,) = c.check_dtypes(found)
    assert said in note
    report = validate(found)
    assert (report.problems, note in report.notes) == ((), True)


def test_the_stored_type_is_that_of_most_values(tmp_path: Path) -> None:
    """Predictions follow the bytes: a quantized model's is that of its scales."""
    assert stored_dtype(c.inspect(make(tmp_path / "half", halved()))) == "float16"
    packed = {
        name: array.astype(np.float16) if name.endswith((".scales", ".biases")) else array
        for name, array in quantized().items()
    }
    declared = {"bits": 4, "group_size": 32}
    folder = make(tmp_path / "packed", packed, quantization=declared, torch_dtype="bfloat16")
    assert stored_dtype(c.inspect(folder)) == "float16"


def test_types_in_which_nothing_computes_are_a_problem(tmp_path: Path) -> None:
    """F64, integer weights, and packed words that nothing declares; tables of integers are none."""
    cases: list[tuple[Arrays, str]] = [
        ({"model.norm.weight": np.ones(HIDDEN, np.float64)}, "1 tensors are F64"),
        ({"model.embed_tokens.weight": np.ones((VOCAB, HIDDEN), np.int64)}, "are I64"),
        (quantized(), "are U32"),
    ]
    for number, (change, said) in enumerate(cases):
        folder = make(tmp_path / str(number), {**arrays(), **change})
        (problem,) = c.check_dtypes(c.inspect(folder))
        assert said in problem
        assert problem in validate(c.inspect(folder)).problems
    table = {**arrays(), "model.position_ids": np.ones(4, np.int64)}
    assert c.check_dtypes(c.inspect(make(tmp_path / "table", table))) == []


def test_words_of_bit_linear_layers_are_packed(tmp_path: Path) -> None:
    """BitNet's are bytes beside one scale, and no weights of a wrong type."""
    tensors = {**arrays(), "x.weight": np.ones((4, 4), np.uint8)}
    (problem,) = c.check_dtypes(c.inspect(make(tmp_path / "alone", tensors)))
    assert "are U8" in problem
    tensors["x.weight_scale"] = np.ones(1, np.float32)
    assert c.check_dtypes(c.inspect(make(tmp_path / "scaled", tensors))) == []


def test_a_prediction_is_made_from_what_is_stored(tmp_path: Path) -> None:
    """The config of a folder says of its weights what their bytes are; a partial one stays."""
    declared = {"bits": 4, "group_size": 32}
    folder = make(tmp_path, halved(), quantization=declared, quantization_config=declared)
    found = source.find(str(folder)).config
    assert found["dtype"] == "float16"
    assert not {"quantization", "quantization_config"} & set(found)
    (folder / "tokenizer.json").unlink()
    assert source.find(str(folder)).config["quantization"] == declared
    whole = make(tmp_path / "whole", quantized(), quantization=declared)
    assert source.find(str(whole)).config["quantization"] == declared


def test_a_quantization_of_which_nothing_is_stored_is_a_problem(tmp_path: Path) -> None:
    """A block on float weights: they would train and be counted in 16 bits as 4."""
    folder = make(tmp_path, halved(), quantization={"bits": 4, "group_size": 32})
    (problem,) = [x for x in c.check_dtypes(c.inspect(folder)) if not x.startswith("Noted")]
    assert "declares a quantization to 4 bits, and no tensor is quantized" in problem
    assert "float16" in problem


@pytest.mark.parametrize("place", ["config", "text_config", "file"])
def test_a_foreign_quantization_is_found_where_mlx_lm_looks(tmp_path: Path, place: str) -> None:
    """At the top, under text_config, and in ModelOpt's own file; none of them is compared."""
    block = {"quant_method": "awq", "bits": 4}
    fields: dict[str, Any] = {"config": {"quantization_config": block}}.get(place, {})
    if place == "text_config":
        fields = {"text_config": {"quantization_config": block}}
    folder = make(tmp_path, quantized(), **fields)
    if place == "file":
        write_json(folder / "hf_quant_config.json", block)
    found = c.inspect(folder)
    assert found.foreign_quantization == "'awq'"
    (said,) = c.check_dtypes(found)
    assert said.startswith("Not checked: the dtypes of quantization method 'awq' are")
    report = validate(found, chat=False)
    assert said in report.notes
    assert said not in report.problems


@pytest.mark.parametrize(
    ("mode", "byte", "said"),
    [("mxfp4", 0xFF, "NaN"), ("mxfp4", 0, "zero"), ("nvfp4", 0x7F, "NaN"), ("nvfp4", 0, "zero")],
)
def test_scales_of_one_byte_are_scanned(tmp_path: Path, mode: str, byte: int, said: str) -> None:
    """They are floats: one of all zeros silences its layer, and one NaN the whole model."""
    group = 32 if mode == "mxfp4" else 16
    tensors = {
        name: np.full(array.shape, 0x38, np.uint8) if "scales" in name else array
        for name, array in quantized(4, 32).items()
        if not name.endswith(".biases")
    }
    bad = "model.layers.1.self_attn.q_proj.scales"
    tensors[bad] = np.full_like(tensors[bad], byte)
    declared = {"bits": 4, "group_size": group, "mode": mode}
    folder = make(tmp_path, tensors, quantization=declared, model_type="mamba")
    report = validate(c.inspect(folder))
    assert [said in line for line in report.problems if bad in line] == [True]
    assert len(report.problems) == 1


def test_scales_of_zeros_in_one_affine_layer_are_named(tmp_path: Path) -> None:
    """Its weights are all alike, whatever the words say."""
    tensors = quantized()
    bad = "model.layers.0.mlp.up_proj.scales"
    tensors[bad] = np.zeros_like(tensors[bad])
    folder = make(tmp_path, tensors, quantization={"bits": 4, "group_size": 32})
    assert validate(c.inspect(folder)).problems == (f"{bad}: every value is zero",)


def test_layers_beyond_the_count_of_any_family_are_a_problem(tmp_path: Path) -> None:
    """One that predicts a further token is right; mlx_lm would drop the others silently."""
    one = {**arrays(), "model.layers.2.x.weight": np.ones(1, np.float32)}
    folder = make(tmp_path / "one", one, model_type="glm4_moe")
    assert validate(c.inspect(folder)).problems == ()
    two = {**one, "model.layers.3.x.weight": np.ones(1, np.float32)}
    folder = make(tmp_path / "two", two, model_type="glm4_moe")
    (problem,) = validate(c.inspect(folder)).problems
    assert "2 layers are beyond num_hidden_layers 2" in problem
    folder = make(tmp_path / "said", two, model_type="glm4_moe", num_nextn_predict_layers=2)
    assert validate(c.inspect(folder)).problems == ()


def cached(folder: Path) -> Path:
    """Return a snapshot whose weights are a blob named by their SHA-256, the config Git's way."""
    snapshot = make(folder / "models--a--b" / "snapshots" / "rev")
    (folder / "models--a--b" / "blobs").mkdir()
    for name, digest in (("model.safetensors", hashlib.sha256), ("config.json", hashlib.sha1)):
        content = (snapshot / name).read_bytes()
        head = f"blob {len(content)}\0".encode() if digest is hashlib.sha1 else b""
        blob = folder / "models--a--b" / "blobs" / digest(head + content).hexdigest()
        (snapshot / name).rename(blob)
        (snapshot / name).symlink_to(blob)
    return snapshot


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_blob_that_is_not_its_name_is_a_problem(tmp_path: Path, name: str) -> None:
    """One flipped bit of a cached file contradicts the digest by which the hub named it."""
    snapshot = cached(tmp_path)
    assert validate(c.inspect(snapshot)).problems == ()
    blob = (snapshot / name).resolve()
    raw = bytearray(blob.read_bytes())
    raw[-4] = 0x3F if name == "model.safetensors" else 0x20
    blob.write_bytes(raw[:-1] + (b"}" if name == "config.json" else raw[-1:]))
    if name == "config.json":
        blob.write_bytes(blob.read_bytes() + b" ")
    (problem,) = validate(c.inspect(snapshot)).problems
    assert problem.startswith(f"{name}: its content is not that of its blob")


def test_a_folder_that_mlx_lm_takes_for_a_pattern_is_refused(tmp_path: Path) -> None:
    """Its glob finds no weights there, which its own message does not say."""
    assert "takes the [ in" in refusal(make(tmp_path / "model [4bit]"))
    assert c.inspect(make(tmp_path / "what?*")).tensors


def test_an_adapter_without_a_config_is_recognised(tmp_path: Path) -> None:
    """What mlx_lm.lora writes is no damaged model, and no download mends it."""
    write_json(tmp_path / "adapter_config.json", {})
    with pytest.raises(CheckpointError, match="is a LoRA adapter") as caught:
        c.inspect(tmp_path)
    assert "base model" in caught.value.hint


def test_a_missing_template_is_not_downloaded_again(tmp_path: Path) -> None:
    """A base model has none; where more is wrong, all of it is fetched again."""
    folder = make(tmp_path)
    write_json(folder / "tokenizer_config.json", {"eos_token": "<|end|>"})
    for weights, hint in ((None, "-Instruct"), ({"x": np.zeros(2, np.float32)}, "download")):
        found = c.inspect(folder if weights is None else make(tmp_path / "bad", weights))
        with pytest.raises(CheckpointError) as caught:
            validate(found).raise_if_invalid(found)
        assert hint in caught.value.hint


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_nonfinite_values_are_counted(
    tmp_path: Path, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NaN and both infinities are counted per tensor, across chunks."""
    monkeypatch.setattr(values, "CHUNK_BYTES", 16)
    array = np.ones((5, 7), dtype)
    array[0, 0], array[4, 6], array[2, 2] = np.nan, np.inf, -np.inf
    cp = c.inspect(make(tmp_path, {"bad": array, "good": np.full(3, np.finfo(dtype).max, dtype)}))
    seen: list[tuple[int, int]] = []
    result = c.check_values(cp, lambda done, total: seen.append((done, total)))
    assert result == c.ValueCheck(2, 38, {"bad": 3}, ())
    assert seen[-1] == (cp.weight_bytes, cp.weight_bytes)


@pytest.mark.parametrize(
    ("dtype", "finite", "nonfinite"),
    [
        ("BF16", [0x3F80, 0x7F7F, 0x8000], [0x7F80, 0xFF80, 0x7FC0, 0x7F81]),
        ("F8_E4M3", [0x38, 0x7E, 0x78, 0x80], [0x7F, 0xFF]),
        ("F8_E5M2", [0x3C, 0x7B, 0x80], [0x7C, 0xFC, 0x7F]),
        ("F8_E4M3FNUZ", [0x40, 0x7F, 0xFF], [0x80]),
        ("F8_E8M0", [0x00, 0xFE], [0xFF]),
    ],
)
def test_nonfinite_bits_of_narrow_floats_are_counted(
    tmp_path: Path, dtype: Any, finite: list[int], nonfinite: list[int]
) -> None:
    """Formats that numpy does not have are judged by their bits."""
    width = 2 if dtype == "BF16" else 1
    content = b"".join(word.to_bytes(width, "little") for word in finite + nonfinite)
    cp = c.inspect(write_raw(tmp_path, {"x": (dtype, [len(finite + nonfinite)], content)}))
    assert c.check_values(cp).nonfinite == {"x": len(nonfinite)}


def test_tensors_of_zeros_are_flagged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A weight of zeros of either sign is flagged; biases, integers and empty ones are not."""
    monkeypatch.setattr(values, "CHUNK_BYTES", 8)
    tensors: Arrays = {
        "w": np.zeros(4, np.float32),
        "negative": np.full(4, -0.0, np.float16),
        "q_proj.bias": np.zeros(4, np.float32),
        "gate.e_score_correction_bias": np.zeros(4, np.float32),
        "q_proj.biases": np.zeros(4, np.float32),
        "one": np.array([0, 0, 1e-30], np.float32),
        "early": np.array([1, 0, 0, 0, 0, 0], np.float32),
        "packed": np.zeros(4, np.uint32),
        "empty": np.zeros((0, 4), np.float32),
    }
    result = c.check_values(c.inspect(make(tmp_path, tensors)))
    assert result.all_zero == ("negative", "q_proj.biases", "w")
    assert result.tensors == 8


def test_file_that_shrinks_after_inspection_is_an_error(tmp_path: Path) -> None:
    """A file cut between header and scan is reported, not read as finite."""
    cp = c.inspect(make(tmp_path))
    os.truncate(tmp_path / "model.safetensors", 5000)
    with pytest.raises(CheckpointError, match="ends inside tensor"):
        c.check_values(cp)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@pytest.mark.slow
@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    config=st.dictionaries(st.sampled_from([*CONFIG, "dtype", "quantization", "head_dim"]), JSON),
    tokenizer_config=st.dictionaries(st.sampled_from([*TOKENIZER_CONFIG, "x_token"]), JSON),
    vocab=JSON,
    added=JSON,
)
def test_json_of_any_shape_never_crashes_a_check(
    tmp_path: Path, config: Any, tokenizer_config: Any, vocab: Any, added: Any
) -> None:
    """Values of a wrong type give a problem or a CheckpointError, never another exception."""
    if not (tmp_path / "model.safetensors").exists():
        make(tmp_path)
    write_json(tmp_path / "config.json", {**CONFIG, **config})
    write_json(tmp_path / "tokenizer_config.json", {**TOKENIZER_CONFIG, **tokenizer_config})
    write_json(tmp_path / "tokenizer.json", {"model": {"vocab": vocab}, "added_tokens": added})
    try:
        cp = c.inspect(tmp_path)
    except CheckpointError:
        return
    c.check_shapes(cp)
    c.check_dtypes(cp)
    with contextlib.suppress(CheckpointError):
        c.check_vocabulary(cp)


def vocabulary_problems(folder: Path) -> str:
    return "\n".join(c.check_vocabulary(c.inspect(folder)))


def test_tokenizer_of_a_larger_model_is_a_problem(tmp_path: Path) -> None:
    """Ids beyond the embedding are named with the token that has the highest."""
    folder = make(tmp_path)
    vocab = {f"t{number}": number for number in range(150)}
    write_json(folder / "tokenizer.json", {**TOKENIZER, "model": {"vocab": vocab}})
    problems = vocabulary_problems(folder)
    assert "'t149' the id 149, but config.json's vocab_size ends at 99" in problems
    assert "but the embedding ends at 99" in problems


def test_tokenizer_of_a_smaller_model_is_a_problem(tmp_path: Path) -> None:
    """A tokenizer under half of the vocabulary is said to be another model's."""
    folder = make(tmp_path)
    vocab = {f"t{number}": number for number in range(40)}
    write_json(folder / "tokenizer.json", {**TOKENIZER, "model": {"vocab": vocab}})
    assert "42 % of vocab_size 100: the tokenizer belongs" in vocabulary_problems(folder)


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (78, ""),
        (77, "Noted: tokenizer.json has 79 tokens, 79 % of vocab_size 100."),
        (47, "49 % of vocab_size 100: the tokenizer belongs to another model"),
        (100, ""),
        (101, "the id 100"),
    ],
)
def test_vocabulary_bounds_are_exact(tmp_path: Path, tokens: int, said: str) -> None:
    """80 of 100 rows are usual, 79 are noted, 49 refused; id 99 is inside, id 100 is not."""
    folder = make(tmp_path)
    numbers = range(tokens) if tokens > 90 else [*range(tokens), 90, 91]
    names = {90: "<|end|>", 91: "<|pad|>"}
    vocab = {names.get(number, f"t{number}"): number for number in numbers}
    write_json(folder / "tokenizer.json", {"model": {"vocab": vocab}})
    problems = vocabulary_problems(folder)
    assert said in problems if said else not problems


def test_unigram_vocabulary_is_understood(tmp_path: Path) -> None:
    """A list of tokens and scores gives the ids by position."""
    folder = make(tmp_path)
    vocab = [[f"t{number}", -1.0] for number in range(90)]
    write_json(folder / "tokenizer.json", {**TOKENIZER, "model": {"vocab": vocab}})
    assert vocabulary_problems(folder) == ""


@pytest.mark.parametrize(
    ("tokenizer_config", "said"),
    [
        ({"eos_token": "</s>"}, "names '</s>' as eos_token"),
        ({"additional_special_tokens": ["<x>"]}, "'<x>' as additional_special_tokens"),
        ({"extra_special_tokens": {"image_token": "<y>"}}, "'<y>' as extra_special_tokens"),
        ({"added_tokens_decoder": {"7": {"content": "<|end|>"}}}, "the id '7'"),
        ({"added_tokens_decoder": {"90": {"content": "<|z|>"}}}, "gives None"),
        ({"eos_token": "t3"}, "eos_token_id is 90 ('<|end|>')"),
    ],
)
def test_special_tokens_that_disagree_are_problems(
    tmp_path: Path, tokenizer_config: dict[str, Any], said: str
) -> None:
    """Each special token must exist and have one id in both files."""
    folder = make(tmp_path)
    write_json(folder / "tokenizer_config.json", tokenizer_config)
    assert said in vocabulary_problems(folder)


@pytest.mark.parametrize(
    ("stop", "generation", "said"),
    [
        (95, {}, "config.json has eos_token_id 95"),
        (90, {"eos_token_id": [90, 99]}, "generation_config.json has eos_token_id 99"),
        ("x", {}, "config.json has eos_token_id 'x'"),
        (None, {}, ""),
        ([90, 3], {}, ""),
        (3, {"eos_token_id": 90}, ""),
        (3, {}, "Noted: eos_token_id is 3 ('t3'), and tokenizer_config.json stops at '<|end|>'"),
    ],
)
def test_stop_tokens_are_compared(
    tmp_path: Path, stop: Any, generation: dict[str, Any], said: str
) -> None:
    """A stop token must exist; mlx-lm unites those of all files, so one apart is only noted."""
    folder = make(tmp_path, eos_token_id=stop)
    write_json(folder / "generation_config.json", generation)
    problems = vocabulary_problems(folder)
    assert said in problems if said else not problems
    report = validate(c.inspect(folder), chat=False)
    assert (said in " ".join(report.problems)) == (not said.startswith("Noted"))


def test_checkpoint_without_any_stop_token_is_a_problem(tmp_path: Path) -> None:
    """Generation that nothing ends is found before it runs."""
    folder = make(tmp_path, eos_token_id=None)
    write_json(folder / "tokenizer_config.json", {})
    assert "names a stop token" in vocabulary_problems(folder)


def test_unknown_sizes_are_not_called_checked(tmp_path: Path) -> None:
    """Without vocab_size and embedding the ids are said to be unchecked."""
    folder = make(tmp_path, {"x": np.ones(1, np.float32)}, vocab_size=None)
    assert vocabulary_problems(folder).count("Not checked") == 2


@pytest.mark.parametrize(
    "tokenizer",
    [
        {},
        {"model": []},
        {"model": {"vocab": {"a": -1}}},
        {"model": {"vocab": {"a": True}}},
        {"model": {"vocab": [1]}},
        {"model": {"vocab": [[[], 1]]}},
        {"model": {"vocab": {"a": 1}}, "added_tokens": [{}]},
        {"model": {"vocab": {"a": 1}}, "added_tokens": 3},
    ],
)
def test_malformed_tokenizer_is_an_error(tmp_path: Path, tokenizer: dict[str, Any]) -> None:
    """A tokenizer.json that holds no vocabulary is damaged, not empty."""
    folder = make(tmp_path)
    write_json(folder / "tokenizer.json", tokenizer)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        c.check_vocabulary(c.inspect(folder))


def test_fingerprint_changes_with_every_loaded_file_only(tmp_path: Path) -> None:
    """The fingerprint is stable, ignores notes, and follows each file that loading reads."""
    folder = make(tmp_path)
    seen: list[tuple[int, int]] = []
    cp = c.inspect(folder)
    first = c.digests(cp, lambda done, total: seen.append((done, total)))
    assert set(first) == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert seen[-1][0] == seen[-1][1]
    fingerprint = c.fingerprint(first)
    assert c.fingerprint(dict(reversed(first.items()))) == fingerprint
    (folder / "README.md").write_text("notes", encoding="utf-8")
    assert c.fingerprint(c.digests(cp)) == fingerprint
    for name in first:
        before = (folder / name).read_bytes()
        (folder / name).write_bytes(before + b" ")
        assert c.fingerprint(c.digests(cp)) != fingerprint
        (folder / name).write_bytes(before)
    with pytest.raises(CheckpointError):
        c.fingerprint({})


def test_the_embedded_checkpoint_passes_every_check() -> None:
    """The checkpoint that ships with the package satisfies its own gates."""
    cp = c.inspect(EMBEDDED)
    assert cp.has_chat_template
    assert cp.remote_code == cp.pickles == cp.unreferenced == ()
    assert c.check_shapes(cp) == c.ShapeCheck(True, "", ())
    assert c.check_dtypes(cp) == []
    assert c.check_vocabulary(cp) == []
    scanned = c.check_values(cp)
    assert scanned.tensors
    assert (scanned.nonfinite, scanned.all_zero) == ({}, ())


def test_importing_the_module_imports_no_array_library() -> None:
    """Reading headers pays neither for numpy nor for the model stack."""
    from mlx_preflight.core.child import run_child

    code = (
        "import sys, mlx_preflight.models.checkpoint; "
        "print({'numpy', 'mlx', 'transformers', 'safetensors'} & set(sys.modules))"
    )
    done = run_child([sys.executable, "-c", code], cwd=Path.cwd(), timeout_s=60)
    assert done.stdout.strip() == "set()"
