"""The way out: the rollbar package sends, and every byte of it passes one door of ours.

The package is told to collect nothing: no locals, no request, no host name, no proxy of the
environment. What it would send all the same, now or in a later version, ends at `_Door`: the
adapter under its HTTP session writes the request anew, to the configured address only, with a body
rebuilt from the allow-list, and follows no redirection, which would carry the token elsewhere.
"""

from __future__ import annotations

import contextlib
import email.utils
import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agent import __version__, clock
from agent.config.report import Report
from agent.errors import Art32Error, Code

_CONNECT, _READ, _WHOLE = 5.0, 10.0, 20.0  # seconds
_MOST_ANSWER = 64 << 10


@dataclass(frozen=True)
class Outcome:
    """What became of one report: the status of the answer, None when there was none; `wait` are
    the seconds the server asked for; `why` is one word or two for people."""

    status: int | None
    wait: float | None = None
    why: str = ""

    @property
    def accepted(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class Wire:
    """Sends reports one by one. Raise TOOL_MISSING when the package is not installed."""

    def __init__(
        self, settings: Report, token: str, clean: Callable[[Any], dict[str, Any]]
    ) -> None:
        try:
            import requests
            import rollbar
            from rollbar.lib import transport
        except ModuleNotFoundError as error:
            raise Art32Error(
                Code.TOOL_MISSING,
                f"the library `{error.name}` is not installed",
                hint="pip install --require-hashes -r requirements/agent-host.txt",
            ) from error
        self._rollbar = rollbar
        self._token = token
        self._environment = settings.environment
        self._door = _door(settings, token, clean)
        session = requests.Session()
        session.trust_env = False  # no proxy, no netrc, no bundle of CAs from the environment
        session.max_redirects = 0
        session.adapters.clear()
        for scheme in ("https://", "http://"):
            session.mount(scheme, self._door)
        self._session = session
        self._transport: Any = transport
        for name in ("rollbar", "rollbar.lib", "urllib3"):
            logger = logging.getLogger(name)  # it logs payloads and answers
            logger.disabled, logger.propagate = True, False
        _configure(rollbar, settings, token)

    def send(self, data: dict[str, Any]) -> Outcome:
        """Send one report and return what became of it; takes 20 seconds at most."""
        outcomes = self._door.outcomes = []
        sender = threading.Thread(target=self._send, args=(data,), daemon=True)
        sender.start()
        sender.join(_WHOLE)
        # the first one: after an answer that it does not like the package reports that too
        return outcomes[0] if outcomes else Outcome(None, why="no answer in time")

    def _send(self, data: dict[str, Any]) -> None:
        self._transport._local.session = self._session  # a session of the package is a thread's
        with contextlib.suppress(Exception):  # the outcome says what happened
            self._rollbar.send_payload({"data": data}, self._token)


def _configure(rollbar: Any, settings: Report, token: str) -> None:
    """Have the package collect nothing and talk about nothing."""
    rollbar.init(
        token,
        settings.environment,
        handler="blocking",
        endpoint=settings.endpoint.rstrip("/") + "/",
        host=settings.environment,  # else the machine's own name is asked for
        root=None,
        branch=None,
        code_version=__version__,
        timeout=int(_READ),
        verify_https=True,
        allow_logging_basic_config=False,
        suppress_reinit_warning=True,
        locals={"enabled": False},
        capture_email=False,
        capture_username=False,
        capture_ip=False,
        include_request_body=False,
        log_all_rate_limited_items=False,
        log_payload_on_error=False,
        http_proxy=None,
        notifier={"name": "art32", "version": __version__},
    )
    rollbar.SETTINGS["access_token"] = token  # a second `init` leaves the first one's
    rollbar.SETTINGS["environment"] = settings.environment


def _door(settings: Report, token: str, clean: Callable[[Any], dict[str, Any]]) -> Any:
    """Return the last door before the wire."""
    import requests
    from requests.adapters import HTTPAdapter

    address = settings.endpoint.rstrip("/") + "/item/"
    trusted: bool | str = True if settings.ca_file is None else str(settings.ca_file)

    class Door(HTTPAdapter):
        outcomes: list[Outcome] = []  # noqa: RUF012 - of the report that is being sent

        def send(self, request: Any, *_: Any, **__: Any) -> requests.Response:
            outcomes = self.outcomes
            try:
                body = json.dumps({"data": clean(json.loads(request.body)["data"])}).encode()
            except (ValueError, KeyError, TypeError):
                outcomes.append(Outcome(422, why="not fit to leave"))
                raise requests.RequestException("not fit to leave") from None
            headers = {
                "Content-Type": "application/json",
                "User-Agent": f"art32/{__version__}",
                "X-Rollbar-Access-Token": token,
            }
            ours = requests.Request("POST", address, headers=headers, data=body).prepare()
            try:
                answer = super().send(
                    ours,
                    stream=True,
                    timeout=(_CONNECT, _READ),
                    verify=trusted,
                    cert=None,
                    proxies={},
                )
                answer._content = answer.raw.read(_MOST_ANSWER, decode_content=True)
                answer.close()
            except Exception as error:
                outcomes.append(Outcome(None, why=_why(error)))
                raise
            outcomes.append(Outcome(answer.status_code, _wait(answer.headers), answer.reason or ""))
            return answer

    return Door()


def _why(error: BaseException) -> str:
    """Return a failure's class alone: its text holds addresses."""
    name = type(error).__name__
    return {"SSLError": "the certificate is not trusted"}.get(name, name)


def _wait(headers: Any) -> float | None:
    """Return the seconds that an answer asks to wait for: Retry-After (RFC 9110 10.2.3), or what
    Rollbar says of its limit."""
    text = headers.get("Retry-After") or headers.get("X-Rate-Limit-Remaining-Seconds")
    if text is None:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
        return max(0.0, (moment - clock.now()).total_seconds())
    except (ValueError, TypeError):
        return None
