"""The chat template's generation prompt, with real tokenizers and the templates of real models."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer

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


def fault(folder: Path, template: str) -> str:
    """Return what is wrong with a template in the embedded model's tokenizer."""
    shutil.copytree(EMBEDDED_FOLDER, folder)
    for file in folder.glob("chat_template*"):
        file.unlink()
    path = folder / "tokenizer_config.json"
    config = {**json.loads(path.read_text(encoding="utf-8")), "chat_template": template}
    path.write_text(json.dumps(config), encoding="utf-8")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (found,) = (c.fault for c in tokenizer_checks(tokenizer, model) if c.name == "chat template")
    return found


@pytest.mark.parametrize("template", [MISTRAL, LLAMA2], ids=["mistral", "llama-2"])
def test_a_turn_that_ends_with_the_prompt_needs_none_added(tmp_path: Path, template: str) -> None:
    """The answer follows the question's turn directly."""
    assert fault(tmp_path / "model", template) == ""


@pytest.mark.parametrize("template", [SILENT, REFUSES], ids=["silent", "refuses an answer"])
def test_a_template_without_a_prompt_is_named(tmp_path: Path, template: str) -> None:
    """The answer would have to write its own turn's begin, or cannot be written at all."""
    assert fault(tmp_path / "model", template) == "the chat template adds no generation prompt"
