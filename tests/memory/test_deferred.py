"""A prediction imports mlx_lm without its tokenizers, and they work when they are used."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mlx_preflight.models.catalog import EMBEDDED_FOLDER

SCRIPT = """
import sys
from mlx_preflight.memory import deferred
deferred.import_mlx_lm()
from mlx_preflight.memory import api
found = api.predict("embedded", batch_size=1, max_seq_length=64, num_layers=2, backend="cpu")
assert found.peak_bytes > 0
heavy = ("transformers", "mlx_lm.tokenizer_utils", "huggingface_hub.hf_api")
print(*(name in sys.modules for name in heavy))
from huggingface_hub import snapshot_download
assert snapshot_download.__module__ == "huggingface_hub._snapshot_download"
from mlx_lm.utils import TokenizerWrapper, load
assert not isinstance(3, TokenizerWrapper)
model, tokenizer = load(sys.argv[1])
from mlx_lm.tokenizer_utils import TokenizerWrapper as real
print(isinstance(tokenizer, TokenizerWrapper), type(tokenizer) is real)
print(tokenizer.decode(tokenizer.encode("def")).endswith("def"))
"""


@pytest.mark.slow
def test_the_tokenizers_are_imported_when_they_are_used() -> None:
    """In a fresh process: not by a prediction, and then as if nothing had been deferred."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(EMBEDDED_FOLDER)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["False", "False", "False", "True", "True", "True"]
