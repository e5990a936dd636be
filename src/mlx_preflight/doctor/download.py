"""Download of a model: hub, cache, completeness, disk, token.

A token is looked for and never shown; the hub is asked one question with a timeout.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import huggingface_hub
from huggingface_hub import constants

from mlx_preflight.core.errors import CheckpointError, UsageError
from mlx_preflight.core.units import format_bytes
from mlx_preflight.doctor.finding import Finding, Severity
from mlx_preflight.models import catalog, checkpoint, hub, hub_cache, locate
from mlx_preflight.models.catalog import KnownModel
from mlx_preflight.plan.profiles import EMBEDDED, SYNTHETIC_PREFIX


def check(model: str, timeout_s: float) -> list[Finding]:
    """Return findings on where the model is, or what keeps it from getting here."""
    if model == EMBEDDED:
        return [Finding("download", Severity.GOOD, "the embedded model", "it is in the package")]
    if model.startswith(SYNTHETIC_PREFIX):
        return [_synthetic(catalog.find_synthetic(model))]
    folder = Path(model).expanduser()
    if folder.exists() or not hub_cache.is_hub_id(model):
        return [_folder(folder)]
    cached = _cached(model)
    disk = [] if cached.severity is Severity.GOOD else [_disk(model)]
    return [cached, *disk, _hub(hub_cache.split(model)[0], timeout_s), _token()]


def _synthetic(found: KnownModel) -> Finding:
    folder = catalog.synthetic_folder(found)
    if (folder / "config.json").is_file():
        return _folder(folder)
    saw = f"the random weights of {found.name} are not made"
    why = "there is nothing to load"
    fix = f"mlx-preflight synthesize {found.name}"
    return Finding("download", Severity.PROBLEM, saw, why, fix)


def _folder(folder: Path) -> Finding:
    """Return whether a folder is a complete checkpoint, by its own index."""
    try:
        found = checkpoint.inspect(folder)
    except CheckpointError as error:
        return Finding(
            "download", Severity.PROBLEM, str(error), "there is nothing to load", error.hint
        )
    saw = f"{folder}: {len(found.files)} weights files, {format_bytes(found.total_bytes)}"
    return Finding("download", Severity.GOOD, saw, "it is local, and complete")


def _cached(model: str) -> Finding:
    fix = locate.missing(model).hint
    try:
        found = _folder(hub_cache.find(model))
    except LookupError as error:
        return Finding("download", Severity.PROBLEM, str(error), "its weights are needed", fix)
    except UsageError as error:
        return Finding("download", Severity.PROBLEM, str(error), "there is nothing to load")
    if found.severity is Severity.GOOD:
        return found
    why = "a partial snapshot is returned without an error and fails at loading"
    return dataclasses.replace(
        found, saw=f"{model} is cached only in part: {found.saw}", why=why, fix=fix
    )


def _disk(model: str) -> Finding:
    """Return whether the download would fit on the disk of the cache."""
    place = Path(constants.HF_HUB_CACHE).expanduser()
    home = next((path for path in (place, *place.parents) if path.exists()), Path("/"))
    free = shutil.disk_usage(home).free
    known_model = catalog.find(hub_cache.split(model)[0])
    needed = known_model.download_bytes if known_model else None
    saw = f"{format_bytes(free)} free at {home}"
    if needed is None:
        why = f"how much {model} takes is known to the hub only; the download checks it first"
        return Finding("download", Severity.NOTE, saw, why)
    if free < needed + hub.SPARE_BYTES:
        why = f"{model} wants {format_bytes(needed)}"
        fix = "free disk space, or export HF_HOME=/a/larger/disk"
        return Finding("download", Severity.PROBLEM, saw, why, fix)
    why = f"enough for the {format_bytes(needed)} of {model}"
    return Finding("download", Severity.GOOD, saw, why)


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
        with urllib.request.urlopen(url, timeout=timeout_s) as answer:  # noqa: S310  (http only)
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
    if huggingface_hub.get_token():
        return Finding("download", Severity.GOOD, "a hub token is present", "gated models work")
    why, fix = "gated models refuse anonymous downloads; this one is not gated", "hf auth login"
    return Finding("download", Severity.NOTE, "no hub token is present", why, fix)
