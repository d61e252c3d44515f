"""The kernel: the specification in Rust, loaded with ctypes from the optional `art32-kernel`."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import struct
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from agent.config.scrubbing import OPTIONAL_KINDS, Defaults, Settings
from agent.logs.scrub import exemptions
from agent.logs.scrub.found import Rules
from agent.logs.scrub.report import KINDS, Report

if TYPE_CHECKING:
    from agent.logs.scrub.keys import PeriodKey

PACKAGE = "art32_kernel"
LIBRARY = "libart32_kernel.so"
_ABI = 2
_KINDS = KINDS[:11]  # as in kernel/src/span.rs
_LONGEST_BLOCK = 1 << 30
_READ_ONLY = 0x100  # PyBUF_READ
_memory = ctypes.pythonapi.PyMemoryView_FromMemory
_memory.restype = ctypes.py_object
_memory.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int]
_TRIAL = b"203.0.113.77 2001:db8::1 \\x22203.0.113.77 a@b.de Chrome/124.0.0.0\n"
_EXPECTED = b"203.0.113.0 2001:db8:: \\x22203.0.113.0 email-removed Chrome/124.0.0.0\n"


#: All that the processor has, none that not every one has, or no AVX-512.
Instructions = Literal["all", "plain", "narrow"]


class KernelUnusableError(Exception):
    """Says in one sentence why there is no kernel."""


class KernelScrubber:
    """Scrubs with the kernel; see `agent.logs.scrub.Scrubber`."""

    engine = "kernel"

    def __init__(
        self,
        settings: Settings,
        rules: Rules,
        key: PeriodKey | None,
        *,
        instructions: Instructions = "all",
    ) -> None:
        self._report = Report()
        self._library = load()
        blob = b"".join(_records(settings, rules, key))
        level = ("all", "plain", "narrow").index(instructions)
        self._engine = self._library.art32_kernel_open(blob, len(blob), level)
        if not self._engine:
            raise KernelUnusableError("the kernel does not understand the settings")
        self._close = weakref.finalize(self, self._library.art32_kernel_close, self._engine)
        self._out = ctypes.c_void_p()
        self._length = ctypes.c_size_t()
        self._lines = ctypes.c_uint64()
        self._reported = [0] * len(_KINDS)

    @property
    def report(self) -> Report:
        """What was found so far; the kernel counts, and is asked only when someone is."""
        counts = (ctypes.c_uint64 * len(_KINDS))()
        self._library.art32_kernel_counts(self._engine, counts)
        for kind, count, reported in zip(_KINDS, counts, self._reported, strict=True):
            self._report.count(kind, count - reported)
        self._reported = list(counts)
        return self._report

    def scrub(self, block: bytes | memoryview) -> bytes:
        """Return a block of whole lines without what the rules find; count it in the report."""
        return bytes(self.view(block))

    def view(self, block: bytes | memoryview) -> memoryview:
        """Return the same in the kernel's own memory: good until the next call."""
        length = len(block)
        if not length:
            return memoryview(b"")
        if length > _LONGEST_BLOCK:
            raise ValueError("a block has at most 1 GiB")
        status = self._library.art32_kernel_scrub(
            self._engine,
            # memory that cannot be written has no address that ctypes would give
            block if isinstance(block, bytes) else ctypes.byref(ctypes.c_char.from_buffer(block)),
            length,
            ctypes.byref(self._out),
            ctypes.byref(self._length),
            ctypes.byref(self._lines),
        )
        if status:
            # never the block as it is: what the kernel cannot do must not pass
            raise RuntimeError(f"the scrubbing kernel failed with status {status}")
        self._report.lines += self._lines.value
        self._report.bytes_in += length
        self._report.bytes_out += self._length.value
        if not self._length.value:
            return memoryview(b"")
        return cast(memoryview, _memory(self._out, self._length.value, _READ_ONLY))


@functools.cache
def load() -> ctypes.CDLL:
    """Return the library after a trial; raise KernelUnusableError when there is none that fits."""
    path = find()
    if path is None:
        raise KernelUnusableError(f"the package `{PACKAGE.replace('_', '-')}` is not installed")
    try:
        library = ctypes.CDLL(str(path))
        library.art32_kernel_abi.restype = ctypes.c_uint32
        abi = library.art32_kernel_abi()
    except (OSError, AttributeError):
        raise KernelUnusableError(f"`{path}` cannot be loaded on this system") from None
    if abi != _ABI:
        raise KernelUnusableError(f"`{path}` is of version {abi} and not {_ABI}")
    library.art32_kernel_open.restype = ctypes.c_void_p
    library.art32_kernel_open.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int]
    library.art32_kernel_scrub.restype = ctypes.c_int
    library.art32_kernel_scrub.argtypes = [
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.POINTER(ctypes.c_void_p),
        ctypes.POINTER(ctypes.c_size_t),
        ctypes.POINTER(ctypes.c_uint64),
    ]
    library.art32_kernel_counts.restype = None
    library.art32_kernel_counts.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_uint64)]
    library.art32_kernel_line_feeds.restype = ctypes.c_size_t
    library.art32_kernel_line_feeds.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    library.art32_kernel_requests.restype = ctypes.c_int64
    library.art32_kernel_requests.argtypes = [
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_size_t,
        ctypes.c_void_p,
        ctypes.c_size_t,
    ]
    library.art32_kernel_close.restype = None
    library.art32_kernel_close.argtypes = [ctypes.c_void_p]
    return library


def find() -> Path | None:
    """Return where the library is installed, if it is."""
    spec = importlib.util.find_spec(PACKAGE)
    for place in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(place) / LIBRARY
        if path.is_file():
            return path
    return None


@functools.cache
def trial() -> str | None:
    """Return why the kernel cannot be used, None when it can: it has scrubbed a line rightly."""
    from agent.logs.scrub import rules_of

    settings = Defaults()
    try:
        scrubbed = KernelScrubber(settings, rules_of(settings), None).scrub(_TRIAL)
    except KernelUnusableError as error:
        return str(error)
    except RuntimeError:
        return "the kernel failed in its self-test"
    return None if scrubbed == _EXPECTED else "the kernel is wrong about its self-test"


def _records(settings: Settings, rules: Rules, key: PeriodKey | None) -> Iterator[bytes]:
    """Yield the settings as kernel/src/config.rs reads them."""
    ipv4, ipv6 = settings.prefixes
    yield _record(b"m", settings.mode.encode("ascii"))
    yield _record(b"4", bytes((ipv4,)))
    yield _record(b"6", bytes((ipv6,)))
    left = sum(1 << index for index, kind in enumerate(OPTIONAL_KINDS) if kind in rules.leave)
    yield _record(b"l", bytes((left,)))
    yield _record(b"d", bytes((rules.email_domain,)))
    if rules.cut_length is not None:
        yield _record(b"c", struct.pack("<Q", rules.cut_length))
    if key is not None:
        yield _record(b"i", key.key_id.encode("ascii"))
        yield _record(b"k", key.secret)
    for ipv4_network in rules.ipv4_networks:
        prefix = bytes((ipv4_network.prefixlen,))
        yield _record(b"n", ipv4_network.network_address.packed + prefix)
    for ipv6_network in rules.ipv6_networks:
        prefix = bytes((ipv6_network.prefixlen,))
        yield _record(b"N", ipv6_network.network_address.packed + prefix)
    lists = (
        (b"o", rules.own_names),
        (b"p", rules.parameters),
        (b"/", rules.path_prefixes),
        (b"P", exemptions.PRODUCTS),
        (b"F", exemptions.FILE_TYPES),
        (b"M", exemptions.SERVICE_MAILBOXES),
        (b"S", exemptions.HEX_LABEL_SUFFIXES),
    )
    for tag, texts in lists:
        for text in texts if tag == b"/" else sorted(texts):
            yield _record(tag, text)
    for root in exemptions.OID_ROOTS:
        yield _record(b"O", struct.pack(f"<{len(root)}H", *root))


def _record(tag: bytes, value: bytes) -> bytes:
    return tag + struct.pack("<I", len(value)) + value
