"""A chat template's prompt and its end of a turn, with real tokenizers and real templates."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from mlx_lm.utils import load_config, load_tokenizer

from mlx_preflight.models.catalog import EMBEDDED_FOLDER
from mlx_preflight.runtime.round_trip import tokenizer_checks

MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}"
    "{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
)
LLAMA2 = (
    "{% for m in messages %}{% if m['role'] == 'user' %}"
    "{{ '[INST] ' + m['content'] | trim + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] | trim + ' ' }}{% endif %}{% endfor %}"
)
SILENT = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
)
REFUSES = SILENT.replace("{% for", "{% if messages|length > 1 %}{{ x.y.z }}{% endif %}{% for", 1)


CHATML = SILENT + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
PLAIN = (
    "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)


def fault(folder: Path, template: str, check: str = "chat template", **eos: Any) -> str:
    """Return what is wrong with a template in the embedded model's tokenizer.

    Args:
        folder: Where to copy the model.
        template: The chat template.
        check: The check that is asked.
        eos: `config`, `generation` and `tokenizer` as their eos is to be.
    """
    shutil.copytree(EMBEDDED_FOLDER, folder)
    for file in folder.glob("chat_template*"):
        file.unlink()
    path = folder / "tokenizer_config.json"
    config = {**json.loads(path.read_text(encoding="utf-8")), "chat_template": template}
    config["eos_token"] = eos.get("tokenizer", config["eos_token"])
    path.write_text(json.dumps(config), encoding="utf-8")
    for name in ("config", "generation"):
        file = folder / ("config.json" if name == "config" else "generation_config.json")
        stored = json.loads(file.read_text(encoding="utf-8"))
        stored["eos_token_id"] = eos.get(name, stored["eos_token_id"])
        file.write_text(json.dumps(stored), encoding="utf-8")
    model = load_config(folder)
    tokenizer = load_tokenizer(folder, eos_token_ids=model["eos_token_id"])
    (found,) = (c.fault for c in tokenizer_checks(tokenizer, model) if c.name == check)
    return found


@pytest.mark.parametrize("template", [MISTRAL, LLAMA2], ids=["mistral", "llama-2"])
def test_a_turn_that_ends_with_the_prompt_needs_none_added(tmp_path: Path, template: str) -> None:
    """The answer follows the question's turn directly."""
    assert fault(tmp_path / "model", template) == ""


@pytest.mark.parametrize("template", [SILENT, REFUSES], ids=["silent", "refuses an answer"])
def test_a_template_without_a_prompt_is_named(tmp_path: Path, template: str) -> None:
    """The answer would have to write its own turn's begin, or cannot be written at all."""
    assert fault(tmp_path / "model", template) == "the chat template adds no generation prompt"


TOKENS = json.loads((EMBEDDED_FOLDER / "tokenizer.json").read_text("utf-8"))["added_tokens"]
OTHER = next(token["id"] for token in TOKENS if token["content"] == "<|endoftext|>")
NOWHERE: dict[str, Any] = {"config": OTHER, "generation": OTHER, "tokenizer": "<|endoftext|>"}


def test_an_end_of_a_turn_that_stops_nothing_is_named(tmp_path: Path) -> None:
    """No file names it: every answer would run to the limit."""
    found = fault(tmp_path / "model", CHATML, "turn end", **NOWHERE)
    assert found.startswith("the chat template ends an answer with '<|im_end|>'")
    assert f"stops at {OTHER} only" in found


@pytest.mark.parametrize("place", ["config", "generation", "tokenizer"])
def test_one_file_that_names_the_end_of_a_turn_is_enough(tmp_path: Path, place: str) -> None:
    """mlx_lm unites generation_config.json, which hides config.json, with the tokenizer's own."""
    files: dict[str, Any] = {name: value for name, value in NOWHERE.items() if name != place}
    if place == "config":
        files["generation"] = None  # (its own would replace the config's)
    assert fault(tmp_path / "model", CHATML, "turn end", **files) == ""


@pytest.mark.parametrize("template", [PLAIN, LLAMA2, MISTRAL, REFUSES])
def test_a_template_without_an_end_token_is_not_judged(tmp_path: Path, template: str) -> None:
    """Where a template writes none, or renders no answer, the model learned its end elsewhere."""
    assert fault(tmp_path / "model", template, "turn end") == ""
