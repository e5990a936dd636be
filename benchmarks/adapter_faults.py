"""Faults that are planted in adapters and fused models, each with the check that must name it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
from adapter_samples import fuse, quantize, train
from tiny_models import save


@dataclass(frozen=True)
class Fault:
    """A fault.

    Attributes:
        check: Id of the check that must name it.
        plant: Changes the files of a sample, and returns more arguments for `finish`.
        fused: Whether the sample is fused first.
        bits: Bits of its base; None leaves it in float32.
        words: Part of the reason by which the fault is named.
    """

    check: str
    plant: Callable[[Path], list[str]]
    fused: bool = False
    bits: int | None = None
    words: str = ""


def change_config(folder: Path, parameters: Mapping[str, Any] | None = None, **keys: Any) -> None:
    """Change keys of adapter_config.json, and of its lora_parameters."""
    path = folder / "adapters" / "adapter_config.json"
    stored = json.loads(path.read_text(encoding="utf-8")) | keys
    if parameters:
        stored["lora_parameters"] |= parameters
    path.write_text(json.dumps(stored), encoding="utf-8")


def change_tensors(folder: Path, change: Callable[[dict[str, mx.array]], None]) -> None:
    """Change the tensors of the last save."""
    path = folder / "adapters" / "adapters.safetensors"
    loaded: Any = mx.load(str(path))
    tensors = dict(loaded)
    mx.eval(list(tensors.values()))
    change(tensors)
    mx.save_safetensors(str(path), tensors)


def _scaled(folder: Path) -> list[str]:
    change_config(folder, {"scale": 200.0})
    return []


def _scaled_beside_config(folder: Path) -> list[str]:
    change_config(folder, {"scale": 40.0})
    return ["--config", "run.yaml"]


def _other_model(folder: Path) -> list[str]:
    config = json.loads((folder / "base" / "config.json").read_text(encoding="utf-8"))
    save(config, folder / "other")
    return ["--model", "other"]


def _other_weights(folder: Path) -> list[str]:
    """Exchange the base's weights for others of the same names and shapes: shifted by a row."""
    weights = folder / "base" / "model.safetensors"
    loaded: Any = mx.load(str(weights))
    tensors = {
        name: mx.roll(array, 1, 0) if array.ndim > 1 and "layers" in name else array
        for name, array in loaded.items()
    }
    mx.eval(list(tensors.values()))
    mx.save_safetensors(str(weights), tensors, {"format": "mlx"})
    return []


def _dead(folder: Path) -> list[str]:
    def change(tensors: dict[str, mx.array]) -> None:
        for name, array in tensors.items():
            if name.endswith("lora_b"):
                tensors[name] = mx.zeros_like(array)

    change_tensors(folder, change)
    return []


def _dead_pair(folder: Path) -> list[str]:
    def change(tensors: dict[str, mx.array]) -> None:
        name = next(name for name in sorted(tensors) if name.endswith("lora_b"))
        tensors[name] = mx.zeros_like(tensors[name])

    change_tensors(folder, change)
    return []


def _nan(folder: Path) -> list[str]:
    def change(tensors: dict[str, mx.array]) -> None:
        name = sorted(tensors)[5]
        tensors[name][0, 0] = float("nan")

    change_tensors(folder, change)
    return []


def _rank(folder: Path) -> list[str]:
    change_config(folder, {"rank": 16})
    return []


def _missing(folder: Path) -> list[str]:
    def change(tensors: dict[str, mx.array]) -> None:
        del tensors[min(tensors)]

    change_tensors(folder, change)
    return []


def _layers(folder: Path) -> list[str]:
    change_config(folder, num_layers=2)
    return []


def _cut(folder: Path) -> list[str]:
    path = folder / "adapters" / "adapters.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    return []


def _only_numbered(folder: Path) -> list[str]:
    (folder / "adapters" / "adapters.safetensors").unlink()
    return []


def _peft(folder: Path) -> list[str]:
    adapters = folder / "adapters"
    (adapters / "adapters.safetensors").rename(adapters / "adapter_model.safetensors")
    return []


def _fused_with_other_scale(folder: Path) -> list[str]:
    change_config(folder, {"scale": 18.0})
    return ["--fused", "fused"]


def _not_fused(folder: Path) -> list[str]:
    shutil.copytree(folder / "base", folder / "other")
    return ["--fused", "other"]


def _fused_in_four_bits(folder: Path) -> list[str]:
    quantize(folder, "fused", "other", 4)
    return ["--fused", "other"]


def _fused_in_eight_bits(folder: Path) -> list[str]:
    fuse(folder, "--dequantize")
    quantize(folder, "fused", "other", 8)
    return ["--fused", "other"]


def _dequantized(folder: Path) -> list[str]:
    fuse(folder, "--dequantize")
    return ["--fused", "fused"]


def _other_template(folder: Path) -> list[str]:
    for path in (folder / "fused").glob("chat_template*"):
        path.write_text(path.read_text(encoding="utf-8") + "\n<think></think>", encoding="utf-8")
    return ["--fused", "fused"]


FAULTS: dict[str, Fault] = {
    "wrong scale": Fault("FINISH2.3", _scaled),
    "wrong scale, config named": Fault("FINISH1.6", _scaled_beside_config, words="scale is 40"),
    "wrong base": Fault("FINISH1.2", _other_model, words="other"),
    "base exchanged under its name": Fault("FINISH2.3", _other_weights, words="worse than chance"),
    "dead adapter": Fault("FINISH1.5", _dead, words="lora_b"),
    "one dead pair": Fault("FINISH1.5", _dead_pair, words="1 tensors"),
    "NaN": Fault("FINISH1.4", _nan, words="1 values"),
    "other rank": Fault("FINISH1.3", _rank, words="lora_a"),
    "tensor missing": Fault("FINISH1.3", _missing, words="missing"),
    "other depth": Fault("FINISH1.3", _layers, words="not trained"),
    "file cut": Fault("FINISH1.1", _cut, words="truncated"),
    "only numbered saves": Fault("FINISH1.1", _only_numbered, words="0000012_adapters"),
    "PEFT's file": Fault("FINISH1.1", _peft, words="PEFT"),
    "fused with another scale": Fault("FINISH2.4", _fused_with_other_scale, fused=True),
    "not fused at all": Fault("FINISH2.4", _not_fused),
    "fused in 4 bits, base in float32": Fault(
        "FINISH2.5", _fused_in_four_bits, fused=True, words="4 bits"
    ),
    "fused in 8 bits, base in 4": Fault("FINISH2.5", _fused_in_eight_bits, bits=4, words="8 bits"),
    "fused dequantized, base in 4 bits": Fault("FINISH2.5", _dequantized, bits=4, words="float32"),
    "fused with another template": Fault(
        "FINISH2.5", _other_template, fused=True, words="template"
    ),
}


def sample(kept: Path, folder: Path, fault: Fault) -> list[str]:
    """Copy a trained sample, plant a fault in the copy, and return the arguments for `finish`.

    Args:
        kept: Folder of samples by the bits of their base; a missing one is trained.
        folder: Where the copy goes.
        fault: What to plant.
    """
    trained = kept / str(fault.bits)
    if not trained.exists():
        fuse(train(trained, fault.bits))
    shutil.copytree(trained, folder)
    return fault.plant(folder)
