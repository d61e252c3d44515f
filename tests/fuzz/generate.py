"""Lines that are hard to scrub: fragments of every rule, glued, escaped and broken at random."""

from __future__ import annotations

import random

FRAGMENTS = (
    b"203.0.113.77",
    b"10.0.0.0",
    b"256.1.1.1",
    b"1.3.6.1.4",
    b"22203.0.113.77",
    b"203.0.113.7757424",
    b"203.000.113.077",
    b"1.2.3.4.443",
    b"Chrome/124.0.0.0",
    b" Edg/1.2.3.4",
    b"gateway/203.0.113.77:8080",
    b"2001:db8:85a3:8d3:1319:8a2e:370:7348",
    b"2001:DB8:85a3:8d3:1319:8a2e:370:7348",
    b"2001:db8:0:8d3:1319:8a2e:370:7348",
    b"2001:0db8:5a3:0:0:0:0:1",
    b"2002:cb00:714d:1:2:3:4:5",
    b"0:0:0:0:0:ffff:cb00:714d",
    b"2001:db8::1",
    b"2001:db8:85a3:8d3::",
    b"::1",
    b"::",
    b":::",
    b"::ffff:203.0.113.77",
    b"::ffff:cb00:714d",
    b"64:ff9b::203.0.113.77",
    b"2002:cb00:714d::1",
    b"fe80::1%eth0",
    b"fe80::1%25eth0",
    b"2001:db8:1::ab9:c0a8:102:46824",
    b"1a00:c820:49225:c84c:ad3f::d991:ec2e",
    b"1:2:3:4:5:6:7::",
    b"1:2:3:4:5:6:7:8:443",
    b"IPv6:2001:db8::1]",
    b"std::bad",
    b"A::b::c",
    b"dead::beefy",
    b"1::bigint",
    b"12:34:56",
    b"00:1a:2b:3c:4d:5e",
    b"00-1a-2b-3c-4d-5e",
    b"00:1a:2b:ff:fe:3c:4d:5e",
    b"MAC=ff:ff:ff:ff:ff:ff:00:1a:2b:3c:4d:5e:08:00",
    b"AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99",
    b"77.113.0.203.in-addr.arpa",
    b"1.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa",
    b"ec2-203-0-113-77.compute.amazonaws.com",
    b"203-0-113-77.static.example.net.",
    b"77.113.0.203.static.example.net",
    b"backup-26-11-23-10.tar.gz",
    b"p5B0A1C2D.dip0.t-ipconnect.de",
    b"ip-10-0-1-23",
    b"bob@example.com",
    b"bob%40example.com",
    b"o'brien+x@mail.example.co.uk",
    b"git@github.com:x",
    b"bob@[203.0.113.77]",
    b"/@babel/core@7.0.0-beta.js",
    b"logo@2x.png",
    b"@",
    b"https://user:secret@example.com/",
    b"http://3405803853/",
    b"http://0xCB00714D:80/",
    b"://",
    b"Authorization: Basic dXNlcjpwYXNz",
    b'"Cookie: a=b; c=d"',
    b"cookie=",
    b"Bearer abcDEF123.x-y",
    b"basic authentication",
    b"?token=abc%20def&x=1",
    b"&email=",
    b'"user":"frank"',
    b'password="a b"',
    b"user[email]=x",
    b"message-id=<1@x>",
    b"/reset/abc123",
    b"/confirm/",
    b"/password/reset/",
    b"203.0.113.5 - frank [10/Oct/2000:13:55:36 -0700]",
    b"- - [10/Oct/2000:",
    b"ip4-removed",
    b"email-removed",
    b"ip6-0a1b2c-0123456789abcdef",
    b"host-removed",
    b"::ffff:0:1.2.3.4",
    b"0123456789abcdef",
)
GLUE = b" .:-/=@%\\\"'[](){}<>,;&?#_+|\t\rxXgG0123456789abcdefABCDEF\x00\x80\xff"
ESCAPES = (
    b"%20",
    b"%22",
    b"%3A",
    b"%253a",
    b"%2E",
    b"%40",
    b"%25",
    b"\\x22",
    b"\\x3a",
    b"\\u003a",
    b"\\u0022",
    b"\\n",
    b"\\t",
    b'\\"',
    b"\\\\",
    b"\\/",
    b"\\056",
    b"#011",
    b"#22",
    b"#10",
    b"%",
    b"%2",
    b"\\x2",
    b"\\",
    b"#",
)
SEPARATORS = b".:-@/=% "


def line(source: random.Random) -> bytes:
    """Return one line without a newline."""
    if source.random() < 0.1:
        return bytes(source.choice(GLUE) for _ in range(source.randrange(60)))
    pieces = []
    for _ in range(source.randrange(1, 5)):
        piece = source.choice(FRAGMENTS)
        if source.random() < 0.1:
            piece = encoded(source, piece)
        if source.random() < 0.1:
            cut = source.randrange(len(piece) + 1)
            piece = piece[:cut] if source.random() < 0.5 else piece[cut:]
        pieces.append(piece)
        choice = source.random()
        if choice < 0.4:
            pieces.append(b" ")
        elif choice < 0.7:
            pieces.append(bytes((source.choice(GLUE),)))
        elif choice < 0.85:
            pieces.append(source.choice(ESCAPES))
    text = bytearray(b"".join(pieces))
    for _ in range(source.choice((0, 0, 0, 1, 1, 2, 4))):
        place = source.randrange(len(text) + 1)
        what = source.choice(GLUE)
        if source.random() < 0.4 and place < len(text):
            del text[place]
        elif source.random() < 0.5 and place < len(text):
            text[place] = what
        else:
            text.insert(place, what)
    return bytes(text).replace(b"\n", b" ")


def encoded(source: random.Random, piece: bytes) -> bytes:
    """Return a piece with its separators, or all of it, written as escapes."""
    how = source.choice((b"%%%02X", b"%%25%02x", b"\\x%02x", b"\\u00%02x"))
    chosen = SEPARATORS if source.random() < 0.7 else bytes(range(256))
    return b"".join(how % byte if byte in chosen else bytes((byte,)) for byte in piece)


def block(source: random.Random, lines: int) -> bytes:
    """Return so many lines; sometimes the last has no newline, sometimes there is a CR.

    Often there is room behind them, for the kernel looks otherwise at what ends near to the end.
    """
    end = b"\r\n" if source.random() < 0.1 else b"\n"
    text = end.join(line(source) for _ in range(lines))
    if source.random() < 0.5:
        text += end + b" " * 80
    return text if source.random() < 0.2 else text + end
