"""The fusion of a traced step equals what `mx.compile` does to the real one."""

from __future__ import annotations

import re
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mlx_preflight.memory import architecture
from mlx_preflight.memory.replay import fusion, generation, rules, trace, trees
from mlx_preflight.memory.settings import Settings
from tests.memory.models import qwen, small

FAMILIES: dict[str, dict[str, Any]] = {
    "qwen2": {},
    "gemma2": {"model_type": "gemma2", "head_dim": 32},
    "phi3": {"model_type": "phi3", "num_key_value_heads": 2},
    "olmo2": {"model_type": "olmo2"},
    "starcoder2": {"model_type": "starcoder2"},
}


def compiled_names(config: dict[str, Any], settings: Settings, path: Path) -> Counter[str]:
    """Return the fused kernels of the really compiled step, called on lazy arrays."""
    import mlx.core as mx
    from mlx import nn
    from mlx_lm.tuner.trainer import default_loss

    model = architecture.build(config, settings)
    architecture.adapt(model, settings)
    optimizer = architecture.optimizer(model, settings)
    value_and_gradient = nn.value_and_grad(model, default_loss)
    state = [model.state, optimizer.state]

    @partial(mx.compile, inputs=state, outputs=state)
    def step(batch: Any, lengths: Any) -> Any:
        (loss, tokens), gradient = value_and_gradient(model, batch, lengths)
        optimizer.update(model, gradient)
        return loss, tokens

    mx.eval(state)
    rows = (settings.batch_size, settings.row_tokens)
    results = step(mx.zeros(rows, mx.int32), mx.zeros((settings.batch_size, 2), mx.int32))
    mx.export_to_dot(str(path), *trees.leaves(state), *results)
    labels = re.findall(r'label ="(Compiled[^"]+)"', path.read_text("utf-8"))
    return Counter(plain(label) for label in labels)


def plain(name: str) -> str:
    """Return a name in the exported spelling: some primitives print more than that."""
    return re.sub(r"LeftShift|RightShift|Bitwise(And|Or|Xor)", "BitwiseBinary", name).replace(
        "Rsqrt", "Sqrt"
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_fused_kernels_are_those_of_the_compiled_step(family: str, tmp_path: Path) -> None:
    """Every fused kernel holds the same primitives, the same number of times."""
    config = qwen(**FAMILIES[family], num_hidden_layers=2, hidden_size=64, vocab_size=100)
    settings = small(max_seq_length=17, batch_size=2, bits=4)
    real = compiled_names(config, settings, tmp_path / "step.dot")
    model = architecture.build(config, settings)
    architecture.adapt(model, settings)
    fused = fusion.fuse(trace.training(model, settings)[-1].graph)
    groups = (node.state[0] for node in fused.nodes if node.name == "Compiled")
    assert Counter("Compiled" + "".join(names) for names in groups) == real


def test_fusing_leaves_the_traced_graph_alone() -> None:
    """The flat graph can be replayed after it was fused."""
    settings = small(max_seq_length=17)
    model = architecture.build(qwen(), settings)
    architecture.adapt(model, settings)
    graph = trace.training(model, settings)[-1].graph
    names = [node.name for node in graph.nodes]
    fused = fusion.fuse(graph)
    assert [node.name for node in graph.nodes] == names
    assert len(fused.nodes) < len(graph.nodes)


def test_only_groups_with_an_activation_are_fused_on_request() -> None:
    """In inference the activations are compiled, and nothing else is."""
    settings = small(inference=True, prompt_tokens=20, generate_tokens=0)
    model = architecture.build(qwen(), settings)
    graph = generation.steps(model, settings)[-1].graph
    fused = fusion.fuse(graph, rules.ACTIVATIONS)
    groups = [node.state[0] for node in fused.nodes if node.name == "Compiled"]
    assert len(groups) == qwen()["num_hidden_layers"]
    assert all("Sigmoid" in names for names in groups)
