"""The local service answers as osv.dev does, and refuses what is no question."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from mlx_preflight.core.errors import AdvisoryError
from mlx_preflight.gates.advisories import lookup
from mlx_preflight.gates.advisories.database import Database
from mlx_preflight.gates.advisories.server import MAX_BODY_BYTES, MAX_QUERIES, serve_in_thread
from tests.gates import osv

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

QUERY = {"package": {"name": "Jinja2", "ecosystem": "PyPI"}, "version": "2.10"}
RECORD = osv.advisory("jinja2", "2.10")


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Serve one advisory."""
    with serve_in_thread(Database([RECORD], "tests")) as address:
        yield address


def ask(url: str, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """Send one request and return status and answer."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection = http.client.HTTPConnection(url.split("/")[2], timeout=10)
    try:
        connection.request(method, path, data if method == "POST" else None)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_a_query_answers_full_records(url: str) -> None:
    """A bad version has its record, a good one an empty object."""
    assert ask(url, "POST", "/v1/query", QUERY) == (200, {"vulns": [RECORD]})
    assert ask(url, "POST", "/v1/query", {**QUERY, "version": "100"}) == (200, {})


def test_a_batch_answers_ids(url: str) -> None:
    """As many answers as questions, in their order."""
    unknown = {"package": {"name": "no-such"}, "version": "1"}
    status, found = ask(url, "POST", "/v1/querybatch", {"queries": [unknown, QUERY]})
    vuln = {"id": RECORD["id"], "modified": RECORD["modified"]}
    assert (status, found) == (200, {"results": [{}, {"vulns": [vuln]}]})


def test_a_record_is_found_by_id(url: str) -> None:
    """An unknown id is 404, as at osv.dev."""
    assert ask(url, "GET", f"/v1/vulns/{RECORD['id']}") == (200, RECORD)
    assert ask(url, "GET", "/v1/vulns/NO-SUCH")[0] == 404
    assert ask(url, "GET", "/v1/vulns/..%2f..%2fetc%2fpasswd")[0] == 404
    assert ask(url, "GET", "/etc/passwd")[0] == 404


def test_the_database_says_how_old_it_is(url: str) -> None:
    """The date reaches the gate over HTTP, and a service without one answers None."""
    found = lookup.database_age(url)
    assert found is not None
    assert (str(found), found.count) == ("2024-01-01, 1 advisories", 1)
    service = osv.Service({})
    service.mode = "dateless"
    assert lookup.database_age(service.url) is None
    service.shutdown()
    service.server_close()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[" * 100_000,
        [],
        {"package": "jinja2", "version": "1"},
        {"package": {"name": 3}, "version": "1"},
        {"package": {"name": "a"}, "version": ["1"]},
        {"package": {"name": "a", "ecosystem": "npm"}, "version": "1"},
        {"commit": "abc"},
    ],
    ids=repr,
)
def test_a_wrong_question_is_refused(url: str, body: object) -> None:
    """A wrong shape is 400 with the reason, never "clean"."""
    status, found = ask(url, "POST", "/v1/query", body)
    assert status == 400
    assert found["message"]


def test_large_questions_are_refused(url: str) -> None:
    """A body over the limit is not read, and a batch has osv.dev's own limit."""
    connection = http.client.HTTPConnection(url.split("/")[2], timeout=10)
    connection.putrequest("POST", "/v1/query")
    connection.putheader("Content-Length", str(MAX_BODY_BYTES + 1))
    connection.endheaders()
    assert connection.getresponse().status == 400
    connection.close()
    many = {"queries": [QUERY] * (MAX_QUERIES + 1)}
    assert ask(url, "POST", "/v1/querybatch", many)[0] == 400
    assert ask(url, "POST", "/v1/querybatch", {"queries": 3})[0] == 400
    assert ask(url, "POST", "/v1/other", {})[0] == 404


def test_a_wrong_address_is_an_error() -> None:
    """Only http and https are asked; a dead port and a wrong answer are named."""
    for wrong in ("file:///etc/v1/query", "http://127.0.0.1:9/v1/query"):
        with pytest.raises(AdvisoryError):
            lookup.database_age(wrong)


def test_endless_aliases_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that names ever new aliases is not followed for ever, and counts as unread."""
    monkeypatch.setattr(lookup, "_MAX_RECORDS", 3)
    records = [{**RECORD, "id": f"A-{n}", "aliases": [f"A-{n + 1}"]} for n in range(9)]
    with serve_in_thread(Database(records, "tests")) as address:
        (found,) = lookup.records(address, [["A-0"]])
    assert len(found.found) == 3
    assert found.unread == ("1 more",)


@pytest.mark.slow
def test_the_command_serves_until_interrupted(tmp_path: Path) -> None:
    """`advisories serve` says its address, date and count, answers, and ends at Ctrl-C."""
    (tmp_path / "one.json").write_text(json.dumps(RECORD))
    command = [sys.executable, "-m", "mlx_preflight", "advisories", "serve", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(2)]
        address = said[0].split()[-1]
        assert "2024-01-01, 1 advisories" in said[1]
        assert ask(address, "POST", "/v1/query", QUERY)[1]["vulns"]
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
