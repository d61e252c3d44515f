"""The section `[report]`: where errors and failing checks are told, and how much of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from agent.config.section import Section

#: A name over TLS; without TLS only this very machine, where a relay of one's own may listen.
Endpoint = Annotated[
    str,
    Field(
        pattern=r"^(?:https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?"
        r"|http://(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?)(?:/[A-Za-z0-9._~/-]*)?$",
        max_length=300,
    ),
]


class Report(Section):
    """Errors and failing checks go to Rollbar, without personal data. Without `token_file` nothing
    is reported."""

    token_file: Path | None = Field(
        None,
        description="File with the project's access token for `post_server_item`, mode 0600. Under "
        "`/etc/credstore` systemd hands it to the unit that reports, and to no other.",
        examples=["/etc/credstore/art32.rollbar-token"],
    )
    heartbeats_file: Path | None = Field(
        None,
        description="File with a line `DUTY ADDRESS` for each duty whose silence is to be noticed, "
        "such as `backup:app https://hc.example.org/ping/...`; mode 0600: who knows an address can "
        "feign success. The address is called after each success of the duty; a backup that does "
        "not count until a person accepts it is none.",
        examples=["/etc/credstore/art32.heartbeats"],
    )
    endpoint: Endpoint = Field(
        "https://api.rollbar.com/api/1/",
        description="Where Rollbar's API is. Plain HTTP only to this machine.",
        examples=["https://api.rollbar.com/api/1/"],
    )
    ca_file: Path | None = Field(
        None,
        description="The CA of that server and of the heartbeats', instead of the public ones.",
        examples=["/etc/art32/proxy-ca.pem"],
    )
    environment: str = Field(
        "production",
        pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$",
        description="What Rollbar is told as the environment.",
        examples=["production"],
    )
    sentences: bool = Field(
        True,
        description="Send an error's sentence too, masked. Without it the code, the duty, the "
        "place and the runbook are all that leaves.",
        examples=[True],
    )
    repeat_hours: float = Field(
        6,
        ge=0,
        le=168,
        description="The same again within this time is counted and not sent.",
        examples=[6],
    )
    queue_reports: int = Field(
        200,
        ge=1,
        le=10_000,
        description="So many reports wait at most while Rollbar cannot be reached; the oldest go.",
        examples=[200],
    )
    queue_bytes: int = Field(
        1 << 20,
        ge=1 << 16,
        le=1 << 28,
        description="And so many bytes of them.",
        examples=[1048576],
    )
