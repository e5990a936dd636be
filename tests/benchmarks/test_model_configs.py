"""Every model file of mlx_lm has a smallest config."""

from __future__ import annotations

import model_configs
import pytest
from mlx_lm.utils import MODEL_REMAPPING

from mlx_preflight.memory import architecture
from tests.memory.models import small


def test_every_file_and_alias_is_a_type() -> None:
    """Parts that models share are none."""
    found = model_configs.types()
    assert {"qwen2", "llama", "nemotron_h", "lfm2-vl", *MODEL_REMAPPING} <= found.keys()
    assert not {"base", "cache", "switch_layers", "rope_utils", "activations"} & found.keys()
    assert found["mistral"] == "llama"


@pytest.mark.slow
def test_every_type_is_built_from_its_config() -> None:
    """Lazily; a new model file with arguments of other names fails here by name."""
    cannot = {"olmo", "prism_hadamard_qwen35"}  # a package; a manifest of packed modules
    for kind in sorted(model_configs.types().keys() - cannot):
        config = model_configs.config_of(kind)
        assert config["model_type"] == kind
        assert len(architecture.build(config, small()).layers) in {3, 4, 8}, kind
