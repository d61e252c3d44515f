"""What a second generation costs, from list prices with a date."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from agent.snapshots import Snapshot
from agent.snapshots.prices import HOURS, Prices
from agent.snapshots.running import Running
from agent.snapshots.stack import Stack


@dataclass(frozen=True)
class Item:
    """One line of the bill of a month; `amount` is None when the table has no price."""

    what: str
    amount: float | None
    seen: bool


def items(
    stack: Stack, one: Snapshot, running: Running, prices: Prices, size: int
) -> tuple[Item, ...]:
    """Return what the new generation costs in a month, as long as it stands beside the old one.

    `size` in GiB is what it will have. The machine is the one that runs, else that of the file.
    """
    if one.kind == "rds":
        return tuple(_database(stack, running, prices, size))
    return tuple(_machine(stack, one, running, prices, size))


def _database(stack: Stack, running: Running, prices: Prices, size: int) -> Iterator[Item]:
    standby = stack.text("dbStandby")
    copies = {"zone": 2, "none": 1}.get(standby or "", running.copies)
    words = " with its standby" if copies == 2 else ""
    machine = stack.text("dbClass") or running.machine
    if machine is None:
        yield Item("the database's machine, whose class nobody knows here", None, False)
    else:
        yield _item(f"{machine}{words}", prices, f"rds {machine}", copies * HOURS)
    yield _item(f"{size} GiB of gp3{words}", prices, "rds gp3 GB", copies * size)


def _machine(
    stack: Stack, one: Snapshot, running: Running, prices: Prices, size: int
) -> Iterator[Item]:
    if one.component != "web":  # its one machine moves to the new volume
        machine = stack.text(f"{one.component}Size") or running.machine
        if machine is None:
            yield Item("the machine, whose type nobody knows here", None, False)
        else:
            yield _item(machine, prices, f"ec2 {machine}", HOURS)
    yield _item(f"{size} GiB of gp3", prices, "volume gp3 GB", size)


def _item(what: str, prices: Prices, name: str, quantity: float) -> Item:
    price = prices.table.get(name)
    if price is None:
        return Item(what, None, False)
    return Item(what, round(price.amount * quantity, 2), price.seen)


def lines(found: tuple[Item, ...], prices: Prices) -> list[str]:
    """Return the bill as people read it, with where its prices come from."""
    if prices.as_of is None:
        source = f"not priced: there is no table `{prices.path.name}` in infra/plan/prices"
    else:
        source = (
            f"list prices of {prices.as_of} in infra/plan/prices/{prices.path.name}, without tax; "
            "those with a ? are from memory, look them up at https://aws.amazon.com/pricing/"
        )
    shown = []
    for one in found:
        mark = "" if one.seen else " ?"
        amount = "not priced" if one.amount is None else f"{one.amount:.2f} {prices.currency}{mark}"
        shown.append(f"  {one.what}: {amount}")
    known = sum(one.amount or 0 for one in found)
    least = "at least " if any(one.amount is None for one in found) else ""
    total = f"  together {least}{known:.2f} {prices.currency} a month, beside the old generation"
    return ["cost of a month, until one of the two is retired:", *shown, total, f"  ({source})"]
