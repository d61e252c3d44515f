"""What looks like an address and is none: the closed list, shared with the second scanner.

Nothing outside of this list and of the grammar in `docs/scrubbing.md` is spared.
"""

from __future__ import annotations

# `Name/1.2.3.4` where the name stands alone: a product and its version, never a path.
PRODUCTS = frozenset(
    b"""
    AppleWebKit BingPreview Brave CFNetwork Chrome ChromePlus Chromium CocCocBrowser Coast CriOS
    DuckDuckGo Edg EdgA EdgiOS Edge Electron FBAV FBBV Firefox Focus FxiOS GSA HeadlessChrome
    HuaweiBrowser Iron Konqueror Maxthon MetaSr MiuiBrowser MobileSafari NetFront OPR OPT OPX
    OculusBrowser Opera PaleMoon PhantomJS Puffin QQBrowser QtWebEngine Quark SamsungBrowser
    SeaMonkey Silk Slack Sleipnir Teams UBrowser UCBrowser Version Viber Vivaldi Whale WhatsApp
    YaBrowser Yowser baiduboxapp
    """.split()
)
# Before the product: the beginning, or one of these.
PRODUCT_BOUNDARY = frozenset(b' "(;+,')

# Five numbers that begin with these are an object identifier (X.660), not address and port.
OID_ROOTS = ((1, 3, 6, 1), (2, 5, 4), (2, 5, 29), (1, 0), (2, 16))

# What ends a file's name and no host's. Those that are top-level domains too are not here.
FILE_TYPES = frozenset(
    b"""
    avi bak bin bmp bz2 cfg cjs class conf css csv dat deb dll doc docx eot exe flv gif gz htm html
    ico ics ini iso jar jpeg jpg js json jsp jsx less log lz4 map mjs mp3 mp4 mpeg msi odt ogg old
    otf pdf php pid png pptx ppt rar rpm rtf scss sock sql svg swf swp tar tgz tiff tmp ts tsx ttf
    txt war wasm wav webm webp woff xls xlsx xml xz yaml yml zst
    """.split()
)

# Local parts that name a service of a forge, as in `git@host:path`.
SERVICE_MAILBOXES = frozenset((b"git", b"hg", b"svn"))

# Access providers that write a client's address into the first label, as eight hexadecimal digits.
HEX_LABEL_SUFFIXES = (
    b"dip.t-dialin.net",
    b"dip0.t-ipconnect.de",
    b"dynamic.kabel-deutschland.de",
    b"pools.vodafone-ip.de",
    b"um27.pools.vodafone-ip.de",
    b"unitymediagroup.de",
    b"adsl.proxad.net",
    b"fbx.proxad.net",
    b"rev.numericable.fr",
    b"cust.bredband2.com",
)
