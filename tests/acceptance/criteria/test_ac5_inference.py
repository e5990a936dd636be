"""AC5 on the embedded model, which answers, and on random weights, which do not."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mlx_preflight.core.errors import ChildError, ResultError
from mlx_preflight.core.result import Evidence, Status
from mlx_preflight.core.workspace import Workspace
from mlx_preflight.criteria import inference, sign_off
from mlx_preflight.models.catalog import EMBEDDED_FOLDER
from mlx_preflight.plan import profiles, register
from mlx_preflight.run import session
from mlx_preflight.run.context import Context
from mlx_preflight.runtime import workers

SESSION = register.find_session("ac5-inference")[0]


@pytest.mark.parametrize("name", [check.id for check in SESSION.checks])
def test_the_embedded_model_passes(ac5: Any, name: str) -> None:
    """The embedded model passes every check of AC5."""
    outcome = inference.CHECKS[name](ac5)
    assert outcome.status is Status.PASS, outcome.reason


@pytest.mark.slow
def test_random_weights_are_gibberish(ac5_random: Any) -> None:
    """Random weights answer at length and fast, and fail for incoherence alone."""
    outcome = inference.ac5_4(ac5_random)
    assert outcome.status is Status.FAIL
    assert "gibberish" in outcome.reason
    for check in (inference.ac5_2, inference.ac5_3, inference.ac5_5):
        assert check(ac5_random).status is Status.PASS


def test_raw_samples_are_kept(ac5: Any) -> None:
    """Speeds have one sample per prompt, and the warm-up is not among them."""
    found = {item.name: item for item in inference.ac5_5(ac5).measurements}
    for name in ("decode_tokens_per_s", "prompt_tokens_per_s", "first_token_s"):
        assert len(found[name].samples) == len(ac5.prompts)
        assert min(found[name].samples) > 0
    assert found["warm_up_s"].value not in found["answer_s"].samples


@pytest.mark.slow
def test_answers_that_go_on_behind_their_turn_fail(ac5: Any, tmp_path: Path) -> None:
    """Where no file stops at the template's end of a turn, each answer is cut and goes on."""
    folder = tmp_path / "model"
    shutil.copytree(EMBEDDED_FOLDER, folder)
    for name, eos in (
        ("config.json", {"eos_token_id": 1021}),
        ("generation_config.json", {"eos_token_id": 1021}),
        ("tokenizer_config.json", {"eos_token": "<|endoftext|>"}),
    ):
        stored = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**stored, **eos}))
    generation = workers.generate(folder, ac5.prompts[:2], max_tokens=128, warm_up=False)
    facts = dataclasses.replace(ac5, generation=generation, prompts=ac5.prompts[:2])
    outcome = inference.ac5_2(facts)
    assert outcome.status is Status.FAIL
    assert "2 went on behind the end of their turn" in outcome.reason
    assert "'<|im_end|>' (1023)" in outcome.reason


def test_answers_that_never_end_fail_once_they_are_long(ac5: Any) -> None:
    """Being cut short says nothing; being cut at 512 tokens does."""
    for tokens, status in ((128, Status.PASS), (512, Status.FAIL)):
        changes: dict[str, Any] = {"finish_reason": "length", "token_ids": tuple(range(tokens))}
        cut = tuple(dataclasses.replace(item, **changes) for item in ac5.generation.answers)
        generation = dataclasses.replace(ac5.generation, answers=cut)
        facts = dataclasses.replace(ac5, generation=generation)
        assert inference.ac5_2(facts).status is status
    synthetic = dataclasses.replace(facts.context, evidence=Evidence.SYNTHETIC)
    assert inference.ac5_2(dataclasses.replace(facts, context=synthetic)).status is Status.PASS


def test_short_answers_fail(ac5: Any) -> None:
    """One answer under twenty tokens fails the length check."""
    first, *rest = ac5.generation.answers
    short = dataclasses.replace(first, token_ids=first.token_ids[:19])
    generation = dataclasses.replace(ac5.generation, answers=(short, *rest))
    outcome = inference.ac5_3(dataclasses.replace(ac5, generation=generation))
    assert outcome.status is Status.FAIL
    assert "the shortest has 19" in outcome.reason


def test_too_few_speeds_are_an_error(ac5: Any) -> None:
    """Two samples give no median: could not be measured."""
    generation = dataclasses.replace(ac5.generation, answers=ac5.generation.answers[:2])
    facts = dataclasses.replace(ac5, generation=generation)
    assert inference.ac5_5(facts).status is Status.ERROR
    assert inference.ac5_2(facts).status is Status.FAIL


def test_other_tokens_on_repetition_fail(ac5: Any) -> None:
    """A second run that answers otherwise fails; one that died is an error."""
    first, *rest = ac5.repeat.answers
    other = dataclasses.replace(first, token_ids=(*first.token_ids, 0))
    repeat = dataclasses.replace(ac5.repeat, answers=(other, *rest))
    outcome = inference.ac5_7(dataclasses.replace(ac5, repeat=repeat))
    assert outcome.status is Status.FAIL
    assert first.id in outcome.reason
    died = dataclasses.replace(ac5, repeat=ChildError("generate: killed by SIGKILL"))
    assert inference.ac5_7(died).status is Status.ERROR
    alone = dataclasses.replace(ac5.repeat, answers=ac5.repeat.answers[:1])
    assert inference.ac5_7(dataclasses.replace(ac5, repeat=alone)).status is Status.ERROR


def test_unrun_code_is_called_unrun(ac5: Any) -> None:
    """With run-answers off, the reason says that nothing was run."""
    settings = dataclasses.replace(ac5.context.settings, run_answers=False)
    context = dataclasses.replace(ac5.context, settings=settings)
    judgements = inference.judge_all(ac5.generation, ac5.prompts, run=False)
    facts = dataclasses.replace(ac5, context=context, judgements=judgements)
    outcome = inference.ac5_4(facts)
    assert outcome.status is Status.PASS
    assert "was not run" in outcome.reason
    assert not any(item.executed for item in judgements)


def test_failures_reach_every_check(ac5: Any) -> None:
    """Without answers nothing passes but the script."""
    failure = ChildError("generate: killed by SIGKILL")
    facts = dataclasses.replace(ac5, generation=None, failure=failure)
    assert inference.ac5_2(facts).status is Status.ERROR
    for check in SESSION.checks[2:]:
        with pytest.raises(ChildError):
            inference.CHECKS[check.id](facts)


def test_saved_answers_hold_their_digest(ac5: Any) -> None:
    """The document names model, machine and date, and refuses a changed answer."""
    path = Workspace(ac5.context.state).answers
    original = path.read_text()
    document = json.loads(original)
    assert document["judged"]["model"] == ac5.subject.fingerprint
    assert document["environment"]["device"] == ac5.generation.device
    assert document["created"]
    document["judged"]["answers"][0]["answer"] += "!"
    try:
        path.write_text(json.dumps(document))
        with pytest.raises(ResultError, match="digest"):
            inference.ac5_6(inference.read_back(ac5))
    finally:
        path.write_text(original)
    assert inference.ac5_6(dataclasses.replace(ac5, digest="0" * 64)).status is Status.FAIL


def test_a_person_must_agree_where_the_profile_says_so(ac5: Any) -> None:
    """Coherent answers of the target wait for a sign-off, which expires with the answers."""
    profile = profiles.find_profile("qwen2.5-coder-7b")
    facts = dataclasses.replace(ac5, context=dataclasses.replace(ac5.context, profile=profile))
    waiting = inference.ac5_4(facts)
    assert waiting.status is Status.BLOCKED
    assert "a person has to read" in waiting.reason
    path = ac5.context.state / "sign-offs" / "AC5.json"
    try:
        sign_off.record(ac5.context.state, "AC5", "Ada", "all sensible")
        signed = inference.ac5_4(inference.read_back(facts))
        assert signed.status is Status.PASS
        assert "valid, by Ada" in signed.reason
        other = dataclasses.replace(facts, digest="0" * 64)
        expired = inference.ac5_4(inference.read_back(other))
        assert expired.status is Status.BLOCKED
        assert "expired, by Ada" in expired.reason
    finally:
        path.unlink()


@pytest.mark.slow
def test_no_sign_off_excuses_gibberish(ac5_random: Any) -> None:
    """A person's word does not overrule the automatic judgement."""
    state = ac5_random.context.state
    sign_off.record(state, "AC5", "Ada", "looks fine to me")
    assert inference.ac5_4(inference.read_back(ac5_random)).status is Status.FAIL
    (state / "sign-offs" / "AC5.json").unlink()


def test_an_absent_hub_model_blocks_what_needs_it(absent: Context) -> None:
    """Without the weights only the script is judged."""
    finished = session.run_session(SESSION, absent)
    assert [check.status for check in finished.checks] == [Status.PASS, *[Status.BLOCKED] * 6]
