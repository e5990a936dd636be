"""Examine the download of a model: hub, cache, completeness, disk, token.

A token is looked for and never shown; the hub is asked one question with a timeout.
"""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from mlx_preflight.doctor.finding import Finding, Severity
from mlx_preflight.memory.known import Known
from mlx_preflight.model import synthetic
from mlx_preflight.plan import EMBEDDED, SYNTHETIC_PREFIX

NEEDED_BYTES = 16_000_000_000
"""Disk that the 7B reference model wants: 15.2 GB of bf16 weights and its other files."""


def examine(model: str, timeout_s: float) -> list[Finding]:
    """Return findings on where the model is, or what keeps it from getting here.

    Args:
        model: `embedded`, a folder, or a hub id.
        timeout_s: Longest wait for the hub's answer.
    """
    if model == EMBEDDED:
        return [Finding("download", Severity.GOOD, "the embedded model", "it is in the package")]
    if model.startswith(SYNTHETIC_PREFIX):
        return [_synthetic(synthetic.find(model))]
    folder = Path(model).expanduser()
    if folder.exists() or model.startswith((".", "/", "~")) or model.count("/") != 1:
        return [_folder(folder)]
    cached = _cached(model)
    return [cached, *_disk(cached), _hub(model, timeout_s), _token()]


def _synthetic(found: Known) -> Finding:
    folder = synthetic.folder(found)
    if (folder / "config.json").is_file():
        return _folder(folder)
    return Finding(
        "download",
        Severity.PROBLEM,
        f"the random weights of {found.name} are not made",
        "there is nothing to load",
        f"mlx-preflight synthesize {found.name}",
    )


def _folder(folder: Path) -> Finding:
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if files:
        return Finding(
            "download", Severity.GOOD, f"{folder}: {len(files)} weights files", "it is local"
        )
    return Finding(
        "download",
        Severity.PROBLEM,
        f"{folder} {'has no *.safetensors' if folder.is_dir() else 'is not a folder'}",
        "there is nothing to load",
        "name a folder with config.json and *.safetensors, or a hub id such as owner/name",
    )


def _cached(model: str) -> Finding:
    from huggingface_hub import snapshot_download  # noqa: PLC0415  (0.3 s, only for hub ids)
    from huggingface_hub.errors import LocalEntryNotFoundError  # noqa: PLC0415

    fix = f"hf download {model}"
    try:
        folder = Path(snapshot_download(model, local_files_only=True))
    except (LocalEntryNotFoundError, OSError, ValueError) as error:
        saw = f"{model} is not in the hub cache ({type(error).__name__})"
        return Finding("download", Severity.PROBLEM, saw, "its weights are needed", fix)
    missing = [name for name in ("config.json",) if not (folder / name).exists()]
    if missing or not any(folder.glob("*.safetensors")):
        saw = f"{model} is cached only in part: {', '.join(missing) or 'no *.safetensors'}"
        why = "a partial snapshot is returned without an error and fails at loading"
        return Finding("download", Severity.PROBLEM, saw, why, fix)
    return Finding("download", Severity.GOOD, f"{model} is cached at {folder}", "no download")


def _disk(cached: Finding) -> list[Finding]:
    if cached.severity is Severity.GOOD:
        return []
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    while not home.exists():
        home = home.parent
    free = shutil.disk_usage(home).free
    saw = f"{free / 1e9:.1f} GB free at {home}"
    if free < NEEDED_BYTES:
        why = f"the 7B reference model wants {NEEDED_BYTES / 1e9:.0f} GB"
        fix = "free disk space, or export HF_HOME=/a/larger/disk"
        return [Finding("download", Severity.PROBLEM, saw, why, fix)]
    return [Finding("download", Severity.GOOD, saw, "enough for the 7B reference model")]


def _hub(model: str, timeout_s: float) -> Finding:
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        why = "nothing is downloaded while it is set"
        return Finding("download", Severity.NOTE, "HF_HUB_OFFLINE is set", why, "unset it")
    host = urllib.parse.urlsplit(endpoint).netloc.rpartition("@")[2]
    url = f"{endpoint}/api/models/{urllib.parse.quote(model)}"
    if not url.startswith(("https://", "http://")):
        why, fix = "HF_ENDPOINT must be an http address", "unset HF_ENDPOINT"
        return Finding("download", Severity.PROBLEM, f"HF_ENDPOINT is {host or 'no URL'}", why, fix)
    try:
        request = urllib.request.Request(url, method="GET")  # noqa: S310  (checked above)
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
            return Finding(
                "download", Severity.GOOD, f"{host} answers {answer.status}", "reachable"
            )
    except urllib.error.HTTPError as error:
        return _refused(host, model, error.code)
    except (OSError, ValueError) as error:
        saw = f"{host} cannot be reached: {getattr(error, 'reason', error)}"
        fix = "check the connection or proxy, use a mirror (HF_ENDPOINT), or copy a local folder"
        return Finding("download", Severity.PROBLEM, saw, "a download would fail", fix)


def _refused(host: str, model: str, code: int) -> Finding:
    causes = {
        401: ("the token is missing or wrong, or the model does not exist", "hf auth login"),
        403: ("the model is gated and this account has no access", f"ask for it at {model}'s page"),
        404: ("there is no such model", "check the spelling of owner/name"),
        429: ("too many requests", "wait a few minutes, or log in with `hf auth login`"),
    }
    why, fix = causes.get(code, ("the hub has a fault of its own", "try again later"))
    return Finding("download", Severity.PROBLEM, f"{host} answers {code} for {model}", why, fix)


def _token() -> Finding:
    from huggingface_hub import get_token  # noqa: PLC0415  (0.3 s, only for hub ids)

    if get_token():
        return Finding("download", Severity.GOOD, "a hub token is present", "gated models work")
    why, fix = "gated models refuse anonymous downloads; this one is not gated", "hf auth login"
    return Finding("download", Severity.NOTE, "no hub token is present", why, fix)
