"""What a restore that was killed leaves: plaintext under a name that nobody will ever use.

A restore says what it is about to make in a file of the state directory, a claim, which it keeps
locked for as long as it lives and removes at its end. A claim that nobody has locked is that of a
dead restore: what it names is removed, and nothing else. A restore in progress is never touched.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent import files
from agent.backup import history
from agent.backup.sources import RestoreRequest, plugin
from agent.errors import Art32Error, Code
from agent.ledger import Ledger

_FOLDER = "restores"
_FOREIGN = "its note is none of this version"
_CLOSED = "its note belongs to another user, who may still be restoring"


class _Claim(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    run: str
    id: str
    source: str
    kind: str
    target: str
    engine_user: str
    token: str = Field(pattern=r"^[0-9a-f]{16}$")

    @property
    def facts(self) -> dict[str, str]:
        return {"run": self.run, "id": self.id, "source": self.source}

    @property
    def request(self) -> RestoreRequest:
        target = os.fsdecode(unquote_to_bytes(self.target))
        return RestoreRequest(target, {}, engine_user=self.engine_user, token=self.token)


@dataclass(frozen=True)
class Leftover:
    """What a dead restore left, as a phrase; `unknown` says why it could not be looked for."""

    claim: Path
    what: str | None
    unknown: str | None = None


@contextlib.contextmanager
def claimed(
    state: Path, request: RestoreRequest, kind: str, facts: Mapping[str, str]
) -> Iterator[list[str]]:
    """Hold a claim on what a request makes; yield a warning when it could not be written.

    `facts` are `run`, `id` and `source` of the restore's record in the ledger.
    After an exception what is left is removed; where that fails, the claim stays.
    """
    target = request.target
    if "://" not in target:
        target = str(Path(target).expanduser().absolute())
    claim = _Claim(
        **facts,
        kind=kind,
        target=quote(os.fsencode(target)),  # a path may be no UTF-8
        engine_user=request.engine_user,
        token=request.token,
    )
    folder = state / _FOLDER
    with contextlib.ExitStack() as stack:
        warnings = []
        release: Callable[[], object] = int
        try:
            data = claim.model_dump_json().encode() + b"\n"
            release = stack.enter_context(files.claimed(folder, data))
        except OSError as error:
            reason = (error.strerror or "error").lower()
            warnings.append(
                f"no note could be made in `{folder}`: {reason}: had this restore been killed, "
                "what it left would have stayed"
            )
        try:
            yield warnings
        except BaseException:
            with contextlib.suppress(Art32Error, OSError):
                plugin(kind).discard(claim.request)
                release()
            raise
        with contextlib.suppress(OSError):  # the next restore finds nothing, and removes it
            release()


def look(state: Path) -> Iterator[Leftover]:
    """Yield what dead restores have left; raise PERMISSION when the claims cannot be read."""
    for path, claim in _dead(state):
        if isinstance(claim, str):
            yield Leftover(path, None, claim)
            continue
        try:
            if (what := plugin(claim.kind).left(claim.request)) is not None:
                yield Leftover(path, what)
        except Art32Error as error:
            yield Leftover(path, None, error.sentence)


def sweep(state: Path, ledger: Ledger) -> list[str]:
    """Remove what dead restores have left, and record their end; return what could not be done."""
    failed = []
    try:
        for path, claim in _dead(state):
            problem = claim if isinstance(claim, str) else _discard(claim)
            if isinstance(claim, str) or problem is not None:
                failed.append(
                    f"what a killed restore left may still be there: {problem}; when it is gone "
                    f"for good: rm {path}"
                )
                continue
            with contextlib.suppress(Art32Error):  # the restore at hand will say so
                ledger.append(history.RESTORED, **claim.facts, result=history.UNFINISHED)
            path.unlink()
    except Art32Error as error:
        failed.append(error.sentence)
    return failed


def _discard(claim: _Claim) -> str | None:
    try:
        plugin(claim.kind).discard(claim.request)
    except Art32Error as error:
        return error.sentence
    return None


def _dead(state: Path) -> Iterator[tuple[Path, _Claim | str]]:
    """Yield the claims of dead restores; why it cannot be read instead of one that cannot."""
    folder = state / _FOLDER
    try:
        for path, data in files.abandoned(folder):
            if data is None:
                yield path, _CLOSED
                continue
            try:
                claim: _Claim | str = _Claim.model_validate_json(data)
            except ValidationError:
                claim = _FOREIGN
            yield path, claim
    except OSError as error:
        reason = (error.strerror or "error").lower()
        raise Art32Error(
            Code.PERMISSION, f"what killed restores left cannot be found in `{folder}`: {reason}"
        ) from error
