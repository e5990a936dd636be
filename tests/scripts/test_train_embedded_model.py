import json
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten
from tokenizers import Tokenizer

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts" / "training"))

import embedded_tasks as tasks
import train_embedded_model as script

SCRIPTS = Path(script.__file__).parent
SEED = script.Settings().seed

ANSWER_IN_CHILD = """
import json, sys
sys.path.insert(0, sys.argv[1])
import train_embedded_model as script
print(json.dumps(list(script.answers(script.EMBEDDED, sys.argv[2:], progress=False))))
"""
RUN_IN_CHILD = """
import json, sys
values = []
for code, function, examples in json.load(sys.stdin):
    space = {}
    exec(code, space)
    values.append([space[function](*item["args"]) for item in examples])
print(json.dumps(values))
"""


def shipped_prompts() -> list[dict[str, Any]]:
    prompts: list[dict[str, Any]] = json.loads((script.EMBEDDED / "prompts.json").read_text())
    return prompts


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(script.EMBEDDED / "tokenizer.json"))


def test_there_are_enough_tasks() -> None:
    """At least 60 different templates have at least four wordings each."""
    assert len({template.id for template in tasks.TEMPLATES}) == len(tasks.TEMPLATES) >= 60
    assert min(len(set(template.wordings)) for template in tasks.TEMPLATES) >= 4


def test_categories_cover_the_kinds_of_programming() -> None:
    """The templates cover eight kinds of programming."""
    assert {template.category for template in tasks.TEMPLATES} == {
        *("arithmetic", "strings", "lists", "dicts"),
        *("conditions", "loops", "recursion", "comprehension"),
    }


def test_training_pairs_depend_on_the_seed_alone() -> None:
    """The same seed and block give the same pairs, another seed or block gives others."""
    first = tasks.training_pairs(SEED, 0, 50)
    assert first == tasks.training_pairs(SEED, 0, 50)
    assert first != tasks.training_pairs(SEED + 1, 0, 50)
    assert first != tasks.training_pairs(SEED, 1, 50)


@pytest.mark.slow
def test_held_out_prompts_are_never_trained_on() -> None:
    """No prompt of the held-out set occurs among 4,000 training pairs."""
    held = {pair.prompt for pair in tasks.held_out(SEED)}
    assert len(held) >= 200
    assert held.isdisjoint(pair.prompt for pair in tasks.training_pairs(SEED, 0, 4_000))


@pytest.mark.parametrize("template", tasks.TEMPLATES, ids=lambda template: template.id)
def test_training_leaves_out_the_held_wording(template: tasks.Template) -> None:
    """No training pair of a template contains its held-out wording."""
    rng = random.Random(3)  # noqa: S311  (not a secret)
    wording = re.escape(template.wordings[template.held_wording])
    held = re.compile(re.sub(r"\\\$[a-z]+", r"[A-Za-z0-9]+", wording) + r"[.?]$")
    assert held.search(tasks.make_pair(rng, template, "wording").prompt)
    for _ in range(40):
        prompt = tasks.make_pair(rng, template, "train").prompt
        assert not held.search(prompt)


def test_training_leaves_out_the_held_openers() -> None:
    """No training pair begins with a held-out opener, every pair with a new wording does."""
    held = re.compile(
        "|".join(
            re.escape(text).replace(r"\$name", r"\w+").replace(r"\$body", ".*")
            for text in tasks.HELD_OPENERS
        )
    )
    trained = [pair.prompt for pair in tasks.training_pairs(SEED, 1, 1000)]
    assert [prompt for prompt in trained if held.fullmatch(prompt)] == []
    new = [pair.prompt for pair in tasks.held_out(SEED) if pair.kind != "parameters"]
    assert [prompt for prompt in new if not held.fullmatch(prompt)] == []


def test_each_function_is_on_one_side_of_the_split() -> None:
    """A template's held-out combinations share no answer with its training combinations."""
    for template in tasks.TEMPLATES[::8]:
        rng = random.Random(5)  # noqa: S311  (not a secret)
        trained = {tasks.make_pair(rng, template, "train").answer for _ in range(200)}
        held = {tasks.make_pair(rng, template, "both").answer for _ in range(50)}
        assert trained.isdisjoint(held), template.id


def test_answers_agree_with_the_references() -> None:
    """Every template's answer gives the values that the independent reference computed."""
    pairs = [*tasks.held_out(SEED), *tasks.held_out(SEED + 1)]
    assert {pair.template for pair in pairs} == {template.id for template in tasks.TEMPLATES}
    code = [pair.answer.removeprefix("```python\n").removesuffix("\n```") for pair in pairs]
    work = [[text, pair.function, pair.examples] for text, pair in zip(code, pairs, strict=True)]
    done = subprocess.run(
        [sys.executable, "-I", "-c", RUN_IN_CHILD],
        input=json.dumps(work),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    for pair, values in zip(pairs, json.loads(done.stdout), strict=True):
        assert values == [item["expected"] for item in pair.examples], pair.prompt


def test_examples_tell_functions_apart() -> None:
    """Every task has at least three examples, and not all expect the same value."""
    for pair in tasks.held_out(SEED):
        assert len(pair.examples) >= 3, pair.template
        assert len({json.dumps(item["expected"]) for item in pair.examples}) > 1, pair.prompt


def test_judge_refuses_wrong_and_missing_functions() -> None:
    """A wrong function parses but is not correct, and prose does neither."""
    pair = next(p for p in tasks.held_out(SEED) if p.template == "arithmetic/add_two")
    wrong = f"```python\ndef {pair.function}(a, b):\n    return a - b\n```"
    other = pair.answer.replace(pair.function, "another_name")
    verdicts = [
        (result.parses, result.correct)
        for result in (script.judge(pair, text, 9) for text in (pair.answer, wrong, other, "no"))
    ]
    assert verdicts == [(True, True), (True, False), (False, False), (False, False)]


@pytest.mark.parametrize(
    "text",
    [
        "def f(x):\n\treturn x ** 2  # square\r\n",
        "naïve café — Ω ≈ 3,14 €",
        "cafe\N{COMBINING ACUTE ACCENT} 日本語 עברית \U0001f9ea\U0001f468‍\U0001f469‍\U0001f467",
        "<|im_start|>user\nhi<|im_end|>\n<|endoftext|>",
        "".join(map(chr, range(256))),
        "   trailing   \n\n\n   blanks ",
    ],
)
def test_tokenizer_round_trips(tokenizer: Tokenizer, text: str) -> None:
    """Decoding the shipped tokenizer's tokens gives back any text unchanged."""
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_special_tokens_are_single_tokens(tokenizer: Tokenizer) -> None:
    """Each of Qwen's special tokens is one token, and the vocabulary is as large as configured."""
    config = json.loads((script.EMBEDDED / "config.json").read_text())
    ids = script.special_ids(tokenizer)
    assert [tokenizer.encode(text).ids for text in script.SPECIAL] == [[n] for n in ids.values()]
    assert tokenizer.get_vocab_size() == config["vocab_size"]
    assert config["eos_token_id"] == ids["<|im_end|>"]


def test_checkpoint_fits_the_package() -> None:
    """The shipped folder has at most 4 MB and all of its files."""
    files = {path.name: path.stat().st_size for path in script.EMBEDDED.iterdir()}
    assert sum(files.values()) <= 4_000_000
    assert set(files) == {
        *("config.json", "generation_config.json", "model.safetensors", "prompts.json"),
        *("tokenizer.json", "tokenizer_config.json", "README.md"),
    }


def test_every_matrix_can_be_quantized() -> None:
    """Every weight matrix has rows of whole groups of 64, and none is quantized already."""
    arrays, _ = script.load_arrays(script.EMBEDDED / "model.safetensors")
    assert {array.shape[-1] % 64 for array in arrays.values() if array.ndim == 2} == {0}
    assert {array.dtype for array in arrays.values()} == {mx.float32}


def test_card_reports_the_goal() -> None:
    """The model card reports at least 200 held-out prompts, 95 % parsing and 80 % correct."""
    card = (script.EMBEDDED / "README.md").read_text()
    row = re.search(r"\| all held out \| (\d+) \| ([\d.]+)% \| ([\d.]+)% \|", card)
    assert row is not None
    count, parse, correct = map(float, row.groups())
    assert count >= 200
    assert parse >= 95
    assert correct >= 80


def test_shipped_prompts_are_held_out_and_diverse(tokenizer: Tokenizer) -> None:
    """The shipped prompts are held-out ones of many categories, with long right answers."""
    held = {pair.prompt: pair for pair in tasks.held_out(SEED)}
    prompts = shipped_prompts()
    assert len(prompts) >= 8
    assert len({item["id"].partition("/")[0] for item in prompts}) >= 6
    for item in prompts:
        pair = held[item["prompt"]]
        assert (item["function"], item["examples"]) == (pair.function, pair.examples)
        assert len(tokenizer.encode(pair.answer).ids) >= 20


@pytest.mark.slow
def test_shipped_checkpoint_answers() -> None:
    """The shipped checkpoint, loaded by MLX-LM, answers shipped prompts correctly."""
    held = {pair.prompt: pair for pair in tasks.held_out(SEED)}
    prompts = [item["prompt"] for item in shipped_prompts()[:2]]
    done = subprocess.run(
        [sys.executable, "-c", ANSWER_IN_CHILD, str(SCRIPTS), *prompts],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    given = json.loads(done.stdout.splitlines()[-1])
    for prompt, answer in zip(prompts, given, strict=True):
        assert script.judge(held[prompt], answer, 0).correct, answer


@pytest.mark.slow
def test_resumed_training_gives_the_same_weights(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Two steps, a stop and one more step give the weights of three steps in one go."""
    settings = script.Settings(steps=3, batch=1)
    whole, *_ = script.train(settings, tokenizer, tmp_path / "whole", progress=False)
    _, stopped, _ = script.train(
        settings, tokenizer, tmp_path / "parts", stop_after=2, progress=False
    )
    assert stopped == 2
    resumed, step, _ = script.train(
        settings, tokenizer, tmp_path / "parts", resume=True, progress=False
    )
    assert step == 3
    fresh = dict(tree_flatten(script.new_model(settings.seed).parameters()))
    other = dict(tree_flatten(resumed.parameters()))
    for name, array in tree_flatten(whole.parameters()):
        np.testing.assert_array_equal(np.array(array), np.array(other[name]), err_msg=name)
        assert not np.array_equal(np.array(array), np.array(fresh[name])), name


def test_resume_refuses_the_state_of_other_settings(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """A training state is not resumed with another number of steps."""
    settings = script.Settings(steps=2, batch=1)
    script.train(settings, tokenizer, tmp_path, stop_after=1, progress=False)
    with pytest.raises(ValueError, match="was made with"):
        script.train(
            script.Settings(steps=4, batch=1), tokenizer, tmp_path, resume=True, progress=False
        )
