"""What holds personal data, and for how long: every place that a stack makes for it.

The list comes from what AWS keeps, by kind of resource, and not from the tags alone: a place that
no tag speaks of is a finding. How long is read from the settings that end things (retention,
lifecycle, locks); the tag `RetentionDays` is what somebody promised and is compared with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from infra.graph import Graph, Resource

LOG_DAYS = 30
"""How long client addresses may be kept at most in what AWS logs."""

_DELAY = 2  # days until AWS's daily lifecycle run has removed what has expired


@dataclass(frozen=True)
class Place:
    """One place: what is in it, how long, what ends it, how it is encrypted, what is wrong.

    `days` is when the last of it is gone after it came, None for live data; `staff` says that it is
    about the people who run the stack and not about those whose data it holds; `resource` is where
    the program makes it.
    """

    resource: Resource
    what: str
    keeps: str
    days: int | None
    ended_by: str
    encrypted: str
    problems: tuple[str, ...] = ()
    staff: bool = False


def longest(found: tuple[Place, ...]) -> int:
    """Return after how many days the last copy of a person's data is gone."""
    return max((one.days or 0 for one in found if not one.staff), default=0)


def places(graph: Graph) -> tuple[Place, ...]:
    """Return every place, the live data first, then by how long it is kept."""
    found = [_judged(place) for one in graph.resources for place in _of(graph, one)]
    return tuple(
        sorted(found, key=lambda one: (one.days is not None, -(one.days or 0), one.resource.urn))
    )


def _of(graph: Graph, one: Resource) -> Iterator[Place]:
    tag = one.get("tags.PersonalData")
    reader = _READERS.get(one.kind)
    denied = tag == "no" and one.kind not in _WHATEVER_ITS_TAG_SAYS
    if denied and not (one.kind in _BY_WRITER and _written(graph, one, _BY_WRITER[one.kind])):
        return
    if reader is not None:
        yield from reader(graph, one)
    elif tag == "yes":
        promised = _promised(one)
        keeps = "until it is deleted" if promised is None else f"{promised} days, as its tag says"
        yield Place(one, "personal data, by its tag", keeps, promised, "not known here", "?")


def _promised(one: Resource) -> int | None:
    text = str(one.get("tags.RetentionDays", ""))
    return int(text) if text.isdigit() else None


def _judged(place: Place) -> Place:
    one, problems = place.resource, list(place.problems)
    if one.kind in _WHATEVER_ITS_TAG_SAYS:
        pass
    elif one.get("tags.PersonalData") == "no":
        problems.append("its tag says that it holds no personal data")
    elif one.get("tags") is not None and one.get("tags.PersonalData") is None:
        problems.append("no tag says whether it holds personal data")
    promised = _promised(one)
    if promised is not None and place.days is not None and place.days > promised + _DELAY:
        problems.append(f"its tag promises {promised} days")
    return replace(place, problems=tuple(problems))


def _written(graph: Graph, one: Resource, writers: Mapping[str, str]) -> str:
    """Return what AWS writes into a place, judged by who refers to it."""
    found = {writers[user.kind] for user in graph.users(one) if user.kind in writers}
    return "; ".join(sorted(found))


def _key(graph: Graph, one: Resource, *inputs: str) -> str:
    for name in inputs:
        if one.get(name):
            keys = [key.name for key in graph.targets(one, name) if key.kind == "aws:kms:Key"]
            return f"KMS key {keys[0]}" if keys else "KMS"
    return ""


def _log_group(graph: Graph, one: Resource) -> Iterator[Place]:
    days = int(one.get("retentionInDays") or 0)
    database = str(one.get("name", "")).startswith("/aws/rds/")
    what = _written(graph, one, _LOG_WRITERS) or (
        "the database's log: statements that failed, addresses of our servers"
        if database
        else "log lines of our programs"
    )
    problems = [] if days else ["nothing ever ends it"]
    staff = what == _TRAIL
    if days > LOG_DAYS and not staff:
        problems.append(f"more than {LOG_DAYS} days for client addresses")
    yield Place(
        one,
        what,
        f"{days} days" if days else "for ever",
        days or _FOR_EVER,
        "CloudWatch Logs",
        _key(graph, one, "kmsKeyId") or "AWS's own key",
        tuple(problems),
        staff,
    )


_TRAIL = "who of us did what at AWS, from which address"
_FOR_EVER = 10**6
_LOG_WRITERS = {
    "aws:ec2:FlowLog": "addresses of clients and servers, of every connection",
    "aws:wafv2:WebAclLoggingConfiguration": "addresses and request lines of clients that were "
    "blocked",
    "aws:cloudtrail:Trail": _TRAIL,
}


def _bucket(graph: Graph, one: Resource) -> Iterator[Place]:
    rules = [
        rule
        for found in graph.attached(one, "aws:s3:BucketLifecycleConfiguration", "bucket")
        for rule in found.get("rules") or []
        if rule.get("status", "Enabled") == "Enabled"
    ]
    locks = [
        int(found.get("rule.defaultRetention.days") or 0)
        for found in graph.attached(one, "aws:s3:BucketObjectLockConfiguration", "bucket")
    ]
    ends = [
        (_prefix(rule), int(rule["expiration"]["days"]))
        for rule in rules
        if (rule.get("expiration") or {}).get("days")
    ]
    noncurrent = [
        int((rule.get("noncurrentVersionExpiration") or {}).get("noncurrentDays") or 0)
        for rule in rules
    ]
    lock, promised = max(locks, default=0), _promised(one)
    words, problems, days = [], [], 0
    for prefix, count in ends:
        words.append(f"{prefix or 'everything'}: {count} days")
        days = max(days, count)
    written = _written(graph, one, _BUCKET_WRITERS)
    if not any(prefix == "" for prefix, _ in ends) and not (written and ends):
        if promised is None or written:
            problems.append("nothing ever ends it")
        else:
            words.append(f"backups: {promised} days, then deleted by the keeper")
            days = max(days, promised, lock)
    if lock:
        words.append(f"no version goes before its lock of {lock} days ends")
    if max(noncurrent, default=0):
        tail = max(noncurrent)
        words.append(
            "what is deleted is gone a day after, lock permitting"
            if tail == 1
            else f"what is deleted is gone after {tail} days"
        )
        days += tail
    what = written or (
        "backups and logs, encrypted with OpenPGP before they come here" if lock else "objects"
    )
    encryption = "SSE-S3"
    for found in graph.attached(one, "aws:s3:BucketServerSideEncryptionConfiguration", "bucket"):
        if "aws:kms" in str(found.get("rules")):
            encryption = _key(graph, found, "rules") or "KMS"
    if lock and not written:
        encryption = f"OpenPGP; {encryption} around it"
    yield Place(
        one,
        what,
        "; ".join(words) or "for ever",
        days or _FOR_EVER,
        "lifecycle rules" if ends else "keeper and lifecycle rules",
        encryption,
        tuple(problems),
        written == _TRAIL,
    )


_BUCKET_WRITERS = {
    "aws:cloudtrail:Trail": _TRAIL,
    "aws:lb:LoadBalancer": "access log: addresses and request lines of all clients",
    "aws:cfg:DeliveryChannel": "configuration of our resources",
}


def _prefix(rule: Mapping[str, object]) -> str:
    given = rule.get("filter")
    prefix = given.get("prefix") if isinstance(given, Mapping) else rule.get("prefix")
    return str(prefix or "")


def _database(graph: Graph, one: Resource) -> Iterator[Place]:
    key = _key(graph, one, "kmsKeyId") or ("KMS" if one.get("storageEncrypted") else "nothing")
    problems = () if one.get("storageEncrypted") else ("it is not encrypted",)
    what = "the application's data"
    erasure = "`art32 subject erase`, person by person"
    yield Place(one, what, "until it is deleted", None, erasure, key, problems)
    days = int(one.get("backupRetentionPeriod") or 0)
    if days:
        what = "automated backups of it, for any point in time"
        yield Place(one, what, f"{days} days", days, "RDS", key, problems)
    if one.get("performanceInsightsEnabled"):
        days = int(one.get("performanceInsightsRetentionPeriod") or 7)
        key = _key(graph, one, "performanceInsightsKmsKeyId") or "AWS's own key"
        what = "texts of slow statements (Performance Insights)"
        yield Place(one, what, f"{days} days", days, "RDS", key)


def _volume(graph: Graph, one: Resource) -> Iterator[Place]:
    key = _key(graph, one, "kmsKeyId") or ("EBS" if one.get("encrypted") else "nothing")
    problems = () if one.get("encrypted") else ("it is not encrypted",)
    erasure = "`art32 subject erase`, person by person"
    what = next((words for duty, words in _VOLUMES if one.name.startswith(duty)), "live data")
    yield Place(one, what, "until it is deleted", None, erasure, key, problems)


_VOLUMES = (
    ("db", "the application's data"),
    ("mail", "mails on their way, and those that could not be delivered yet"),
    ("web", "files that the application keeps"),
)


def _machine(graph: Graph, one: Resource) -> Iterator[Place]:
    """Yield the disk that a machine starts from: journal, temporary files, what was forgotten."""
    devices = [each.get("ebs") or {} for each in one.get("blockDeviceMappings") or []]
    devices += [one.get("rootBlockDevice")] if one.get("rootBlockDevice") else []
    safe = bool(devices) and all(str(each.get("encrypted")).lower() == "true" for each in devices)
    key = _key(graph, one, "blockDeviceMappings", "rootBlockDevice") if safe else ""
    problems = () if safe else ("it is not said that its disk is encrypted",)
    what = "journal and temporary files on the machine's own disk"
    keeps = "until the machine is replaced"
    encrypted = key or ("EBS" if safe else "not known")
    yield Place(one, what, keeps, None, "the machine's end", encrypted, problems)


def _queue(graph: Graph, one: Resource) -> Iterator[Place]:
    seconds = int(one.get("messageRetentionSeconds") or 345600)
    days = -(-seconds // 86400)
    what = "addresses of recipients in bounces and complaints"
    key = _key(graph, one, "kmsMasterKeyId") or (
        "SSE-SQS" if one.get("sqsManagedSseEnabled") else "nothing"
    )
    problems = ("it is not encrypted",) if key == "nothing" else ()
    yield Place(one, what, f"{days} days, or until it is read", days, "SQS", key, problems)


def _plan(graph: Graph, one: Resource) -> Iterator[Place]:
    vaults = [each for each in graph.targets(one, "rules") if each.kind == "aws:backup:Vault"]
    keys = sorted({_key(graph, each, "kmsKeyArn") or "AWS's own key" for each in vaults})
    key = ", ".join(keys) or "as the vault"
    most = max((_longest_in(graph, each) for each in vaults), default=0)
    for rule in one.get("rules") or []:
        name = rule.get("ruleName", one.name)
        what = f"snapshots of database and volumes (rule {name})"
        yield _snapshots(one, what, rule, most, key)
        for copy in rule.get("copyActions") or []:
            what = f"copies of these snapshots in another region (rule {name})"
            yield _snapshots(one, what, copy, most, key)


def _snapshots(one: Resource, what: str, rule: Mapping[str, Any], most: int, key: str) -> Place:
    days = int((rule.get("lifecycle") or {}).get("deleteAfter") or 0)
    problems = () if days else ("nothing ever ends them",)
    keeps = f"{days} days" if days else "for ever"
    if most:
        keeps += f"; the vault's lock allows {most} at most"
    return Place(one, what, keeps, days or _FOR_EVER, "AWS Backup", key, problems)


def _longest_in(graph: Graph, vault: Resource) -> int:
    locks = graph.attached(vault, "aws:backup:VaultLockConfiguration", "backupVaultName")
    return max((int(lock.get("maxRetentionDays") or 0) for lock in locks), default=0)


def _flow_log(graph: Graph, one: Resource) -> Iterator[Place]:
    """Yield nothing when the flow log ends in a place that is in the list itself."""
    if not any(each.kind in _BY_WRITER for each in graph.targets(one, "logDestination")):
        what = _LOG_WRITERS["aws:ec2:FlowLog"]
        problems = ("it goes to a place that this program does not make",)
        yield Place(one, what, "not known", _FOR_EVER, "not known", "not known", problems)


def _suppression(_: Graph, one: Resource) -> Iterator[Place]:
    reasons = one.get("suppressedReasons") or one.get("suppressionOptions.suppressedReasons")
    if reasons:
        what = "addresses to which SES sends no more, after a bounce or a complaint"
        keeps = "until it is taken off the list"
        erasure = "a person: `aws sesv2 delete-suppressed-destination`"
        yield Place(one, what, keeps, None, erasure, "AWS's own key")


def _vault(graph: Graph, one: Resource) -> Iterator[Place]:
    """Yield a vault that no plan of this program fills; the others stand with their plan."""
    if not graph.users(one, "aws:backup:Plan"):
        days = _longest_in(graph, one)
        keeps = f"{days} days at most, by its lock" if days else "as long as is said elsewhere"
        key = _key(graph, one, "kmsKeyArn") or "AWS's own key"
        problems = () if days else ("nothing here ever ends it",)
        what = "snapshots that come from elsewhere"
        yield Place(one, what, keeps, days or _FOR_EVER, "AWS Backup", key, problems)


_READERS: Mapping[str, Callable[[Graph, Resource], Iterator[Place]]] = {
    "aws:backup:Plan": _plan,
    "aws:backup:Vault": _vault,
    "aws:cloudwatch:LogGroup": _log_group,
    "aws:ebs:Volume": _volume,
    "aws:ec2:FlowLog": _flow_log,
    "aws:ec2:Instance": _machine,
    "aws:ec2:LaunchTemplate": _machine,
    "aws:rds:Instance": _database,
    "aws:s3:Bucket": _bucket,
    "aws:sesv2:AccountSuppressionAttributes": _suppression,
    "aws:sesv2:ConfigurationSet": _suppression,
    "aws:sqs:Queue": _queue,
}
_BY_WRITER = {"aws:cloudwatch:LogGroup": _LOG_WRITERS, "aws:s3:Bucket": _BUCKET_WRITERS}
_WHATEVER_ITS_TAG_SAYS = {
    "aws:backup:Plan",
    "aws:ec2:Instance",
    "aws:ec2:LaunchTemplate",
    "aws:sesv2:AccountSuppressionAttributes",
    "aws:sesv2:ConfigurationSet",
}
"""What holds nothing itself, but makes copies or lists that do."""
