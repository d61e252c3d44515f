"""The test in a real account begins only when somebody has said so in full."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.account import __main__ as account
from tests.fixtures.stacks import values


@pytest.fixture
def stack_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(account, "ROOT", tmp_path)
    monkeypatch.setenv("PATH", "/nonexistent")
    return tmp_path / "Pulumi.test.yaml"


def write(file: Path, **changes: object) -> None:
    lines = (f"  art32:{name}: {json.dumps(value)}" for name, value in values(**changes).items())
    file.write_text("config:\n" + "\n".join(lines) + "\n")


def test_it_refuses_without_a_stack_that_may_be_destroyed_and_without_consent(
    stack_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert account.main([]) == 2
    assert "cannot be read" in capsys.readouterr().err
    write(stack_file)
    assert account.main(["--i-pay-for-it"]) == 2
    assert "`test` is not ephemeral" in capsys.readouterr().err
    write(stack_file, ephemeral=True)
    assert account.main([]) == 2
    assert "costs money in account 123456789012" in capsys.readouterr().err
    assert account.main(["--i-pay-for-it"]) == 2
    assert "Pulumi CLI is not here" in capsys.readouterr().err
