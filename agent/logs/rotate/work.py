"""Rotation of several logs, with everything that the lines go through on their way."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime

from agent import backup
from agent.config.logs_rotate import RotatedLog
from agent.config.model import Configuration
from agent.errors import Art32Error, from_defect
from agent.logs.rotate import cut, directory, run
from agent.logs.rotate.detect import Detection
from agent.logs.rotate.directory import LogDirectory
from agent.logs.rotate.names import Segment
from agent.logs.rotate.run import Rotation
from agent.logs.scan.publish import Told
from agent.logs.scrub import Scrubber, exemptions, keys, lines, open_scrubber
from agent.logs.scrub.keys import PeriodKey
from agent.logs.scrub.shared_keys import directories, oldest_that_may_wait, open_keys, unshared
from agent.logs.second import Exemptions, SecondScanner
from agent.logs.ship import Treatment


def rotate_all(
    config: Configuration,
    chosen: Sequence[RotatedLog],
    *,
    force: bool = False,
    told: Told | None = None,
) -> tuple[list[Rotation], list[str]]:
    """Rotate logs one after the other, and return what came of each and a sentence for each key
    that expires soon. One log that fails does not stop the others. `told` hears of new attacks.

    Raise a key error before anything is touched when this host's keys are unusable.
    """
    treatments = _Treatments(config, told)
    results = []
    with backup.shipping_of_logs(config) as shipping:
        warnings = shipping.warnings()
        for log in chosen:
            try:
                results.append(run.rotate(config, log, shipping, treatments.treat, force=force))
            except Art32Error as error:
                results.append(Rotation(log.name, errors=[error]))
            except Exception as error:  # noqa: BLE001 - a defect in one is no reason to skip others
                results.append(Rotation(log.name, errors=[from_defect(error)]))
    done = len(chosen) == len(config.logs.rotate)
    treatments.forget(done and all(not one.errors and not one.waiting for one in results))
    return results, [*warnings, *dict.fromkeys(treatments.warnings)]


class _Treatments:
    """What lines go through: the same settings for all, and a key for each day."""

    def __init__(self, config: Configuration, told: Told | None) -> None:
        self._told = told
        reason = unshared(config)
        self.warnings: list[str] = [] if reason is None else [reason]
        self._settings = config.logs.scrub
        self._scan = config.logs.scan
        self._keys = open_keys(self._settings, backed_up=directories(config))
        pseudonym = self._settings.mode == "pseudonym"
        self._key_of = self._daily_key if pseudonym else lambda _: None
        self._prefixes = self._settings.prefixes if self._settings.mode == "truncate" else None
        self._exempt = Exemptions(
            networks=tuple(ipaddress.ip_network(text) for text in self._settings.exempt_networks),
            products=exemptions.PRODUCTS,
            product_boundary=exemptions.PRODUCT_BOUNDARY,
            oid_roots=exemptions.OID_ROOTS,
        )

    def _daily_key(self, begun: datetime) -> PeriodKey:
        """Return the key of the day on which a segment began, whatever its lines say."""
        return self._keys.key(begun.strftime("%Y-%m-%d"))

    def forget(self, everything_shipped: bool) -> None:
        """Forget keys of days that are over: a key lives until its last segment is shipped."""
        self._keys.forget(keys.today() if everything_shipped else oldest_that_may_wait())

    def treat(
        self, log: RotatedLog, segment: Segment, begun: datetime, place: LogDirectory
    ) -> Treatment:
        """Return what is done to one segment."""
        key = self._key_of(begun)
        treatment = self._scrubbing(open_scrubber(self._settings, key=key), begun, key)
        if log.scanned:
            samples = open_scrubber(self._settings, key=key)
            detection = Detection(self._scan, place, segment, samples, self._told)
            treatment.observe = detection.observe
            treatment.detected = lambda: self.warnings.extend(detection.publish())
        return treatment

    def _scrubbing(self, scrubber: Scrubber, begun: datetime, key: PeriodKey | None) -> Treatment:
        return Treatment(
            scrubber=scrubber,
            second=SecondScanner(self._prefixes, self._exempt),
            blocks=lambda reads: lines.blocks(reads, scrubber.report),
            facts={
                "mode": self._settings.mode,
                "begun": begun.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "key_id": key.key_id if key is not None else None,
            },
        )


def plan(log: RotatedLog, *, force: bool = False) -> list[str]:
    """Return a line for what a rotation of a log would do; touch nothing. Raise as a run would."""
    how = log.reopening()
    found = []
    with directory.opened(log.path.parent, directory.trust(how.owner, how.group)) as place:
        for name in cut.live_files(log, place):
            with place.reading(name) as descriptor:
                reason, size = cut.why(log, descriptor, last_cut=None, force=force)
            if reason is not None:
                found.append(f"would cut `{name}`, {size} bytes ({reason})")
        found += [f"would ship `{segment.name}`" for segment in run.segments(log, place)]
    return found
