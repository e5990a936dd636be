"""MCP over HTTP: loopback, a bearer token, checked Host and Origin, small bodies."""

from __future__ import annotations

import hmac
import ipaddress
import os
import secrets
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mcp.server import MCPServer
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.transport_security import TransportSecuritySettings

from mcp_local.guard import log_plainly
from mcp_local.mcp_server import create_server
from mlx_preflight.core.errors import ResultError, UsageError
from mlx_preflight.core.workspace import Workspace

MAX_BODY_BYTES = 1_048_576
MIN_TOKEN = 16
"""Characters of a token that cannot be guessed."""

_ANOTHER = "give another one, or delete the file: a new one is made then"

MAX_SESSIONS = 256
"""Sessions of 40 kB each; clients that leave without closing keep theirs for half an hour."""

AUTH_VARIABLE = "PREFLIGHT_MCP_TOKEN"


class OneToken:
    """Verifier of one token, compared in constant time."""

    def __init__(self, token: str) -> None:
        """Keep the token."""
        self._token = token

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return the client of a right token, else None."""
        if hmac.compare_digest(token.encode(), self._token.encode()):
            return AccessToken(token=token, client_id="local", scopes=[])
        return None


def token(state: Path) -> tuple[str, str]:
    """Return the token and where it comes from; one is made and kept if there is none.

    Args:
        state: The first project's `.preflight` folder.

    Raises:
        UsageError: The token that was given can be guessed, sent by no client, or read by others.
        ResultError: It can be neither read nor kept.
    """
    given = os.environ.get(AUTH_VARIABLE, "")
    where = f"the variable {AUTH_VARIABLE}"
    if not given:
        path = Workspace(state).mcp_token
        where = str(path)
        try:
            given = _kept(path)
        except (OSError, UnicodeDecodeError) as error:
            raise ResultError(f"{path}: {error}") from error
    if len(given) < MIN_TOKEN:
        raise UsageError(f"the token of {where} has under {MIN_TOKEN} characters", hint=_ANOTHER)
    if not (given.isascii() and given.isprintable()) or " " in given:
        raise UsageError(
            f"the token of {where} has characters that no header carries", hint=_ANOTHER
        )
    return given, where


def _kept(path: Path) -> str:
    """Return the token of a file, made if there is none, of which others see nothing."""
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(number, "w", encoding="ascii") as stream:
            stream.write(secrets.token_urlsafe(32))
    if path.stat().st_mode & 0o077:
        raise UsageError(f"others can read {path}", hint=f"chmod 600 {path}")
    return path.read_text(encoding="ascii").strip()


def serve(
    projects: Sequence[Path], host: str, port: int, secret: str, allowed: Sequence[str] = ()
) -> None:
    """Serve until interrupted.

    Args:
        projects: What clients may run and read.
        host: Address to listen on.
        port: Port to listen on.
        secret: Bearer token that every request must carry.
        allowed: Host headers to accept, such as `build.example:8765`; needed beyond loopback.

    Raises:
        UsageError: Another address than loopback without such a list.
    """
    log_plainly()
    server = secured_server(projects, host, port, secret)
    # A shell in the background hands on that Ctrl-C is ignored; runs are stopped by it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    server.run(
        transport="streamable-http",
        host=host,
        port=port,
        max_request_body_size=MAX_BODY_BYTES,
        max_sessions=MAX_SESSIONS,
        transport_security=security(host, port, allowed),
    )


def secured_server(projects: Sequence[Path], host: str, port: int, secret: str) -> MCPServer[Any]:
    """Return a server that wants the token."""
    address = f"http://{host}:{port}"
    return create_server(
        projects,
        token_verifier=OneToken(secret),
        auth=AuthSettings.model_validate(
            {
                "issuer_url": address,
                "resource_server_url": f"{address}/mcp",
                # The one token is made for this server, so there is no audience to compare.
                "validate_token_resource": False,
            }
        ),
    )


def security(host: str, port: int, allowed: Sequence[str]) -> TransportSecuritySettings:
    """Return what Host and Origin may be; the SDK checks nothing beyond loopback by itself.

    Raises:
        UsageError: Another address than loopback without a list of hosts.
    """
    hosts = list(allowed)
    if _is_loopback(host):
        hosts += [f"{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")]
    elif not hosts:
        raise UsageError(
            f"{host} is not loopback: every machine that reaches it could start runs here",
            hint=f"listen on 127.0.0.1, or name who may ask with --allow-host NAME:{port}",
        )
    origins = [f"{scheme}://{name}" for name in hosts for scheme in ("http", "https")]
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True, allowed_hosts=hosts, allowed_origins=origins
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
