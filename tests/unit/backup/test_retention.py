"""Retention over simulated years: what must never be deleted, whatever happens."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agent.backup import catalog, retention
from agent.backup.catalog import Backup, State
from agent.backup.retention import ABSENT_DAYS, CLOCK_TOLERANCE, Plan
from agent.config.model import Retention
from tests.fixtures.simulation import BEGINNING, DAY, backup_id, simulated

HOUR = timedelta(hours=1)


def decide(
    backups: Sequence[Backup],
    policy: Retention,
    now: datetime,
    *,
    host_now: datetime | None = None,
    accepted: frozenset[str] = frozenset(),
    last_result: str | None = "ok",
    retired: bool = False,
) -> Plan:
    return retention.plan(
        catalog.units(backups),
        policy,
        store_now=now,
        host_now=now if host_now is None else host_now,
        accepted=accepted,
        last_result=last_result,
        retired=retired,
    )


def deleted(plan: Plan) -> list[Backup]:
    return [backup for unit in plan.deletions for backup in unit.backups]


def good_units(backups: Sequence[Backup], accepted: frozenset[str] = frozenset()) -> int:
    return sum(unit.good(accepted) for unit in catalog.units(backups))


def daily(count: int, *, end: datetime = BEGINNING) -> list[Backup]:
    """One good backup a day, the newest an hour before `end`."""
    return [simulated(n, end - HOUR - (count - 1 - n) * DAY) for n in range(count)]


def test_nothing_at_all_is_no_reason_to_delete() -> None:
    assert decide([], Retention(), BEGINNING).deletions == ()


def test_after_a_healthy_year_the_window_remains() -> None:
    backups: list[Backup] = []
    policy = Retention(days=30, minimum_backups=7)
    for day in range(365):
        now = BEGINNING + day * DAY
        backups.append(simulated(day, now - HOUR))
        plan = decide(backups, policy, now)
        assert plan.refused is None
        backups = [backup for backup in backups if backup not in deleted(plan)]
    assert [backup.id for backup in backups] == [backup_id(day) for day in range(335, 365)]


@pytest.mark.parametrize(("days", "floor", "left"), [(1, 7, 7), (3, 2, 3), (5, 5, 5), (2, 1, 2)])
def test_the_floor_holds_below_the_window_and_the_window_above_the_floor(
    days: int, floor: int, left: int
) -> None:
    backups = daily(40)
    plan = decide(backups, Retention(days=days, minimum_backups=floor), BEGINNING)
    assert len(backups) - len(deleted(plan)) == left
    assert deleted(plan) == backups[: 40 - left]


def test_age_is_counted_to_the_instant() -> None:
    fresh = daily(3)
    at_limit = simulated(90, BEGINNING - 30 * DAY)
    beyond = simulated(91, BEGINNING - 30 * DAY - timedelta(microseconds=1))
    policy = Retention(days=30, minimum_backups=1)
    assert deleted(decide([*fresh, at_limit, beyond], policy, BEGINNING)) == [beyond]


@pytest.mark.parametrize("result", ["source-failed", "defect", "interrupted", "anything else"])
def test_a_failed_run_stops_all_deletion(result: str) -> None:
    plan = decide(daily(60), Retention(), BEGINNING, last_result=result)
    assert plan.deletions == ()
    assert plan.refused is not None
    assert result in plan.refused


@pytest.mark.parametrize("retired", [False, True])
def test_one_backup_that_the_store_does_not_give_stops_deletion_for_this_time(
    retired: bool,
) -> None:
    backups = daily(60)
    backups[3] = simulated(3, backups[3].stored_at, State.UNREADABLE)
    plan = decide(backups, Retention(), BEGINNING, retired=retired)
    assert plan.deletions == ()
    assert plan.refused == f"backup `{backup_id(3)}` is unreadable: "
    absent = simulated(90, BEGINNING - 20 * DAY, State.ABSENT)
    assert deleted(decide([absent, *backups], Retention(), BEGINNING, retired=retired)) == [absent]


def test_a_keeper_that_never_ran_a_backup_may_prune() -> None:
    assert decide(daily(60), Retention(), BEGINNING, last_result=None).deletions


@pytest.mark.parametrize("skew", [timedelta(minutes=5, seconds=1), DAY, 400 * DAY])
@pytest.mark.parametrize("sign", [1, -1])
def test_clocks_that_disagree_stop_all_deletion(skew: timedelta, sign: int) -> None:
    plan = decide(daily(60), Retention(), BEGINNING, host_now=BEGINNING + sign * skew)
    assert plan.deletions == ()


def test_clocks_may_differ_a_little() -> None:
    plan = decide(daily(60), Retention(), BEGINNING, host_now=BEGINNING + CLOCK_TOLERANCE)
    assert plan.deletions


def test_when_backups_have_stopped_nothing_is_deleted() -> None:
    policy = Retention(newest_within_hours=48)
    backups = daily(60)
    at_limit = backups[-1].stored_at + timedelta(hours=48)
    assert decide(backups, policy, at_limit).deletions
    assert not decide(backups, policy, at_limit + timedelta(seconds=1)).deletions


def test_suspicious_backups_do_not_count_until_they_are_accepted() -> None:
    now = BEGINNING
    shrunk = [simulated(500 + n, now - HOUR - (59 - n) * DAY, suspicious=True) for n in range(60)]
    policy = Retention(days=30, minimum_backups=7)
    assert decide(shrunk, policy, now).deletions == ()
    some = frozenset(backup.id for backup in shrunk[-10:])
    assert len(deleted(decide(shrunk, policy, now, accepted=some))) == 30
    one = frozenset([shrunk[-1].id])
    mixed = [*daily(20, end=now - 40 * DAY), *shrunk]
    plan = decide(mixed, policy, now, accepted=one)
    assert good_units(mixed, one) == 21
    assert good_units([b for b in mixed if b not in deleted(plan)], one) == 7


def test_an_unaccepted_newest_backup_is_no_fresh_backup() -> None:
    backups = [*daily(60, end=BEGINNING - 3 * DAY), simulated(99, BEGINNING, suspicious=True)]
    assert decide(backups, Retention(), BEGINNING).deletions == ()


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_set_with_a_missing_member_does_not_count(missing: int) -> None:
    def members(set_number: int, moment: datetime) -> list[Backup]:
        return [simulated(set_number * 10 + n, moment, part=(set_number, n, 3)) for n in (1, 2, 3)]

    old = members(1, BEGINNING - 60 * DAY)
    new = [one for one in members(2, BEGINNING - HOUR) if one.id != backup_id(20 + missing)]
    whole = members(2, BEGINNING - HOUR)
    policy = Retention(days=30, minimum_backups=1)
    assert decide([*old, *new], policy, BEGINNING).deletions == ()
    assert sorted(b.id for b in deleted(decide([*old, *whole], policy, BEGINNING))) == [
        backup_id(number) for number in (11, 12, 13)
    ]


def test_parts_of_two_sizes_make_no_whole_set() -> None:
    parts = [
        simulated(1, BEGINNING, part=(9, 1, 2)),
        simulated(2, BEGINNING, part=(9, 2, 3)),
    ]
    doubled = [
        simulated(1, BEGINNING, part=(9, 1, 2)),
        simulated(2, BEGINNING, part=(9, 1, 2)),
    ]
    assert good_units(parts) == good_units(doubled) == 0


@pytest.mark.parametrize("state", [State.SUSPECT, State.PENDING])
def test_suspect_and_pending_are_kept_for_ever(state: State) -> None:
    strange = simulated(999, BEGINNING - 3000 * DAY, state)
    plan = decide([strange, *daily(60)], Retention(), BEGINNING)
    assert plan.deletions
    assert strange not in deleted(plan)


def test_absent_ones_go_after_a_week_and_not_before() -> None:
    old = simulated(1001, BEGINNING - ABSENT_DAYS * DAY - HOUR, State.ABSENT)
    young = simulated(1002, BEGINNING - ABSENT_DAYS * DAY + HOUR, State.ABSENT)
    assert deleted(decide([old, young, *daily(3)], Retention(), BEGINNING)) == [old]


@pytest.mark.parametrize("result", ["ok", "source-failed"])
def test_what_runs_left_that_never_succeeded_goes_after_a_week(result: str) -> None:
    nights = [simulated(n, BEGINNING - n * DAY, State.ABSENT) for n in range(1, 15)]
    plan = decide(nights, Retention(), BEGINNING, last_result=result)
    assert plan.refused == "there is no good backup"
    assert deleted(plan) == sorted(nights[7:], key=lambda backup: backup.stored_at)


@pytest.mark.parametrize("skew", [DAY, -DAY])
def test_while_clocks_disagree_not_even_absent_ones_go(skew: timedelta) -> None:
    nights = [simulated(n, BEGINNING - n * DAY, State.ABSENT) for n in range(1, 15)]
    assert deleted(decide(nights, Retention(), BEGINNING, host_now=BEGINNING + skew)) == []
    future = [*nights, simulated(99, BEGINNING + HOUR)]
    assert deleted(decide(future, Retention(), BEGINNING)) == []


def test_a_source_that_has_ended_goes_to_its_last_backup() -> None:
    backups = daily(60, end=BEGINNING - 20 * DAY)
    backups.append(simulated(99, BEGINNING - 20 * DAY, State.ABSENT))
    policy = Retention(days=30, minimum_backups=7)
    assert deleted(decide(backups, policy, BEGINNING)) == backups[-1:]
    plan = decide(backups, policy, BEGINNING, last_result="source-failed", retired=True)
    assert plan.refused is None
    assert deleted(plan) == [*backups[:50], backups[-1]]
    later = decide(backups, policy, BEGINNING + 11 * DAY, last_result="defect", retired=True)
    assert deleted(later) == backups


@pytest.mark.parametrize("state", [State.ABSENT, State.SUSPECT, State.PENDING])
def test_something_unfinished_after_the_newest_good_one_stops_all_deletion(state: State) -> None:
    backups = [*daily(60), simulated(999, BEGINNING, state)]
    assert decide(backups, Retention(), BEGINNING).deletions == ()


def test_a_backup_from_the_future_stops_all_deletion() -> None:
    backups = [*daily(60), simulated(999, BEGINNING + HOUR)]
    plan = decide(backups, Retention(), BEGINNING)
    assert plan.deletions == ()
    assert "future" in str(plan.refused)


def test_junk_under_the_id_of_a_good_backup_does_not_unmake_it() -> None:
    good = daily(7, end=BEGINNING)
    junk = [
        simulated(0, BEGINNING - 60 * DAY, State.ABSENT, borrowed_id=backup.id) for backup in good
    ]
    policy = Retention(days=1, minimum_backups=7)
    assert good_units([*junk, *good]) == 7
    assert deleted(decide([*junk, *good], policy, BEGINNING)) == junk


POLICIES = st.builds(
    Retention,
    days=st.integers(1, 60),
    minimum_backups=st.integers(1, 10),
    newest_within_hours=st.integers(1, 100),
)
AGES = st.integers(-3, 100 * 24).map(lambda hours: hours * HOUR)


@st.composite
def legitimate(draw: st.DrawFn) -> list[Backup]:
    ages = draw(st.lists(AGES, min_size=1, max_size=25))
    flags = draw(st.lists(st.booleans(), min_size=len(ages), max_size=len(ages)))
    return [
        simulated(number, BEGINNING - abs(age), suspicious=flag and number % 3 == 0)
        for number, (age, flag) in enumerate(zip(ages, flags, strict=True))
    ]


GARBAGE = st.lists(
    st.tuples(
        AGES,
        st.sampled_from([State.ABSENT, State.SUSPECT, State.PENDING]),
        st.none() | st.integers(0, 24),
    ),
    max_size=8,
).map(
    lambda entries: [
        simulated(
            1000 + number,
            BEGINNING - age,
            state,
            borrowed_id=None if borrowed is None else backup_id(borrowed),
        )
        for number, (age, state, borrowed) in enumerate(entries)
    ]
)


def together(backups: list[Backup], garbage: list[Backup]) -> list[Backup]:
    """Return both; what stands in one place of a store is one backup."""
    by_place = {one.place: one for one in [*reversed(garbage), *backups]}
    return [*backups, *(one for one in garbage if by_place[one.place] is one)]


@settings(max_examples=150, deadline=None)
@given(legitimate(), GARBAGE, POLICIES)
def test_who_can_only_add_objects_never_makes_prune_delete_more(
    backups: list[Backup], garbage: list[Backup], policy: Retention
) -> None:
    alone = {backup.place for backup in deleted(decide(backups, policy, BEGINNING))}
    mixed = deleted(decide(together(backups, garbage), policy, BEGINNING))
    assert {backup.place for backup in mixed if backup in backups} <= alone


@settings(max_examples=150, deadline=None)
@given(legitimate(), GARBAGE, POLICIES, st.sets(st.integers(0, 24)), st.integers(-600, 600))
def test_what_holds_for_every_plan(
    backups: list[Backup],
    garbage: list[Backup],
    policy: Retention,
    accepted_numbers: set[int],
    skew: int,
) -> None:
    everything = together(backups, garbage)
    accepted = frozenset(backup_id(number) for number in accepted_numbers)
    plan = decide(
        everything,
        policy,
        BEGINNING,
        accepted=accepted,
        host_now=BEGINNING + timedelta(seconds=skew),
    )
    gone = deleted(plan)
    assert sorted(one.place for d in plan.decisions for one in d.unit.backups) == sorted(
        one.place for one in everything
    )
    if abs(skew) > 300:
        assert gone == []
    for backup in gone:
        days = policy.days if backup.state is State.COMPLETE else ABSENT_DAYS
        assert BEGINNING - backup.stored_at > days * DAY
    if plan.refused is not None:
        assert {backup.state for backup in gone} <= {State.ABSENT}
        return
    assert abs(skew) <= 300
    before, rest = good_units(everything, accepted), [b for b in everything if b not in gone]
    assert good_units(rest, accepted) >= min(policy.minimum_backups, before)
    assert {backup.state for backup in gone} <= {State.COMPLETE, State.ABSENT}
    newest = max(u.stored_at for u in catalog.units(everything) if u.good(accepted))
    assert BEGINNING - newest <= timedelta(hours=policy.newest_within_hours)
    again = decide(rest, policy, BEGINNING, accepted=accepted)
    assert deleted(again) == []


@settings(max_examples=150, deadline=None)
@given(legitimate(), GARBAGE, POLICIES, st.integers(-600, 600), st.sampled_from([None, "defect"]))
def test_of_a_retired_source_age_alone_decides(
    backups: list[Backup],
    garbage: list[Backup],
    policy: Retention,
    skew: int,
    last_result: str | None,
) -> None:
    everything = together(backups, garbage)
    plan = decide(
        everything,
        policy,
        BEGINNING,
        host_now=BEGINNING + timedelta(seconds=skew),
        last_result=last_result,
        retired=True,
    )
    gone = deleted(plan)
    future = any(backup.stored_at > BEGINNING + CLOCK_TOLERANCE for backup in everything)
    if abs(skew) > 300 or future:
        assert gone == []
        return
    assert plan.refused is None
    ages = {State.COMPLETE: policy.days * DAY, State.ABSENT: ABSENT_DAYS * DAY}
    assert sorted(one.place for one in gone) == sorted(
        one.place
        for one in everything
        if one.state in ages and BEGINNING - one.stored_at > ages[one.state]
    )


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32), policy=POLICIES)
def test_a_year_of_failed_nights_clock_jumps_and_garbage(seed: int, policy: Retention) -> None:
    chance = random.Random(seed)
    backups: list[Backup] = []
    accepted: set[str] = set()
    number = 0
    for day in range(365):
        now = BEGINNING + day * DAY
        host_now = now
        result = "ok"
        number += 10
        night = chance.choices(
            ["good", "set", "half a set", "suspicious", "failed", "nothing", "foreign", "forged"],
            [60, 5, 3, 5, 8, 5, 3, 3],
        )[0]
        moment = now - chance.random() * 20 * HOUR
        match night:
            case "good":
                backups.append(simulated(number, moment))
            case "set" | "half a set":
                size = 3 if night == "set" else 2
                backups += [
                    simulated(number + n, moment, part=(number, n, 3)) for n in range(1, size + 1)
                ]
            case "suspicious":
                backups.append(simulated(number, moment, suspicious=True))
                if chance.random() < 0.5:
                    accepted.add(backup_id(number))
            case "failed":
                backups.append(simulated(number, moment, State.ABSENT))
                result = "source-failed"
            case "foreign":
                backups.append(simulated(number, moment, State.PENDING))
            case "forged":
                backups.append(simulated(number, moment, State.SUSPECT))
        if chance.random() < 0.1:
            host_now += chance.choice([-1, 1]) * chance.choice([HOUR, DAY, 500 * DAY])
        frozen = frozenset(accepted)
        plan = decide(backups, policy, now, host_now=host_now, accepted=frozen, last_result=result)
        gone = deleted(plan)
        rest = [backup for backup in backups if backup not in gone]
        if host_now != now:
            assert gone == []
        if result != "ok":
            assert {backup.state for backup in gone} <= {State.ABSENT}
        for backup in gone:
            assert backup.state in (State.COMPLETE, State.ABSENT)
            assert now - backup.stored_at > min(policy.days, ABSENT_DAYS) * DAY
            assert backup.state is State.ABSENT or now - backup.stored_at > policy.days * DAY
        assert good_units(rest, frozen) >= min(policy.minimum_backups, good_units(backups, frozen))
        # a lock keeps some of what should go: those stand in the next plan again
        backups = [b for b in backups if b not in gone or chance.random() < 0.05]
    strange = sum(backup.state in (State.SUSPECT, State.PENDING) for backup in backups)
    assert len(backups) - strange <= 3 * (policy.days + policy.minimum_backups + 366)


class Years(RuleBasedStateMachine):
    """Time passes, nights go well or badly, strangers plant things, and prune runs now and then."""

    @initialize(days=st.integers(1, 20), floor=st.integers(1, 5), hours=st.integers(24, 72))
    def begin(self, days: int, floor: int, hours: int) -> None:
        self.policy = Retention(days=days, minimum_backups=floor, newest_within_hours=hours)
        self.now = BEGINNING
        self.number = 0
        self.backups: list[Backup] = []
        self.accepted: frozenset[str] = frozenset()
        self.last_result: str | None = None
        self.good_ever = 0

    def _add(self, state: State = State.COMPLETE, **more: object) -> Backup:
        self.number += 1
        backup = simulated(self.number, self.now, state, **more)  # type: ignore[arg-type]
        self.backups.append(backup)
        return backup

    @rule(hours=st.integers(1, 60))
    def time_passes(self, hours: int) -> None:
        self.now += hours * HOUR

    @rule(nights=st.integers(1, 15))
    def nights_go_well(self, nights: int) -> None:
        for _ in range(nights):
            self.now += DAY
            self._add()
            self.good_ever += 1
        self.last_result = "ok"

    @rule()
    def a_night_fails(self) -> None:
        self._add(State.ABSENT)
        self.last_result = "source-failed"

    @rule(accept=st.booleans())
    def a_night_is_suspicious(self, accept: bool) -> None:
        backup = self._add(suspicious=True)
        self.last_result = "ok"
        if accept:
            self.accepted |= {backup.id}
            self.good_ever += 1

    @rule(state=st.sampled_from([State.ABSENT, State.SUSPECT, State.PENDING]), age=AGES)
    def a_stranger_plants_something(self, state: State, age: timedelta) -> None:
        self.number += 1
        self.backups.append(simulated(self.number, self.now - age, state))

    @rule(state=st.sampled_from([State.ABSENT, State.SUSPECT, State.PENDING]), data=st.data())
    def a_stranger_borrows_an_id(self, state: State, data: st.DataObject) -> None:
        assume(self.backups)
        borrowed = data.draw(st.sampled_from(self.backups)).id
        self.backups.append(simulated(0, self.now + HOUR, state, borrowed_id=borrowed))

    @rule(locked=st.booleans())
    def prune(self, locked: bool) -> None:
        plan = decide(
            self.backups,
            self.policy,
            self.now,
            accepted=self.accepted,
            last_result=self.last_result,
        )
        gone = deleted(plan)
        for backup in gone:
            assert backup.state in (State.COMPLETE, State.ABSENT)
            limit = self.policy.days if backup.state is State.COMPLETE else ABSENT_DAYS
            assert self.now - backup.stored_at > limit * DAY
        if not locked:
            self.backups = [backup for backup in self.backups if backup not in gone]

    @invariant()
    def enough_good_ones_are_left(self) -> None:
        if hasattr(self, "policy"):
            left = good_units(self.backups, self.accepted)
            assert left >= min(self.policy.minimum_backups, self.good_ever)


TestYears = Years.TestCase
TestYears.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
