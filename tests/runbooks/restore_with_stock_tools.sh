#!/bin/sh
# Restores one backup without art32: prints the plaintext dump on standard output.
#
#   restore_with_stock_tools.sh DIRECTORY PINNED_KEY HOST SOURCE GNUPG_HOME > dump
#
#   DIRECTORY   one downloaded backup, still under its name 20261123T031500Z-0123456789abcdef
#   PINNED_KEY  file with the public signing key of HOST, from a safe place, never from the store
#   HOST SOURCE what the backup claims to be of, as they stand in the store
#   GNUPG_HOME  GnuPG home with a private key that the backup is encrypted to
#
# Restore into something new, and give it its final name only when this script has printed DONE and
# exited 0 *and* the program that took the dump has too: what came before DONE may lack its end.
# pg_restore without --create leaves out the settings, comment and rights of the database itself:
# runbooks/restore-database-stock-tools.md shows how to read them.
# Needs gpg, gpgv, zstd, sha256sum, grep, sed, awk.
set -eu
umask 077
export LC_ALL=C

refuse() {
    echo "restore: $1" >&2
    exit 1
}

if [ $# -ne 5 ]; then
    echo "usage: $0 DIRECTORY PINNED_KEY HOST SOURCE GNUPG_HOME > dump" >&2
    exit 2
fi
pinned=$2 host=$3 source=$4 private=$5
for tool in gpg gpgv zstd sha256sum grep sed awk mktemp; do
    command -v "$tool" >/dev/null || refuse "$tool is not installed: apt-get install gnupg gpgv zstd"
done
[ -d "$1" ] || refuse "there is no directory $1"
[ -r "$pinned" ] || refuse "the pinned key $pinned cannot be read"
[ -d "$private" ] || refuse "there is no GnuPG home $private"
pinned=$(realpath "$pinned")
private=$(realpath "$private")
cd "$1"
for name in manifest.json.sig manifest.json SHA256SUMS key.pgp; do
    [ -f "$name" ] || refuse "$name is missing: this is no complete backup"
done

# Room for one segment at a time, in memory where that is possible.
if [ -d /dev/shm ] && [ -w /dev/shm ]; then space=/dev/shm; else space=${TMPDIR:-/tmp}; fi
work=$(mktemp -d "$space/restore.XXXXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
mkdir "$work/pin" "$work/empty"

# 1. The pinned key. gpgv takes a revoked and an expired key for good: look at the key itself.
offline() { gpg --batch --no-options --no-tty --quiet --no-autostart "$@"; }
offline --homedir "$work/pin" --with-colons --show-keys "$pinned" >"$work/key" 2>/dev/null || true
[ "$(grep -c '^pub:' "$work/key")" = 1 ] || refuse "$pinned does not hold exactly one public key"
! grep -q '^pub:[ri]:' "$work/key" || refuse "the pinned key is revoked or invalid: ask its owner"
fingerprint=$(sed -n 's/^fpr:::::::::\([0-9A-F]*\):.*/\1/p' "$work/key" | head -n 1)
offline --homedir "$work/pin" --import "$pinned" 2>/dev/null || refuse "gpg cannot read $pinned"
offline --homedir "$work/pin" --export >"$work/pinned.pgp"

# 2. The signature. The status lines decide, not the exit status.
gpgv --homedir "$work/pin" --keyring "$work/pinned.pgp" --status-fd 1 \
    manifest.json.sig manifest.json >"$work/status" 2>/dev/null || true
said() { grep -c "^\[GNUPG:\] $1\( \|\$\)" "$work/status" || true; }
[ "$(said NEWSIG)" = 1 ] || refuse "manifest.json.sig is not exactly one signature"
[ "$(said NO_PUBKEY)" = 0 ] || refuse "the manifest is signed by another key than the pinned one"
[ "$(said BADSIG)" = 0 ] || refuse "the signature does not fit manifest.json"
[ "$(said REVKEYSIG)" = 0 ] || refuse "the manifest is signed by a revoked key"
[ "$(said VALIDSIG)" = 1 ] || refuse "manifest.json has no valid signature"
[ "$(said GOODSIG)" = 1 ] || [ "$(said EXPKEYSIG)" = 1 ] || refuse "the signature is not good"
# VALIDSIG: 3 signing key, 5 time of the signature, 12 primary key
sed -n 's/^\[GNUPG:\] VALIDSIG /VALIDSIG /p' "$work/status" >"$work/valid"
signer=$(awk '{print $2}' "$work/valid")
signed_at=$(awk '{print $4}' "$work/valid")
[ "$(awk '{print $11}' "$work/valid")" = "$fingerprint" ] || refuse "another key has signed"
awk -F: -v signer="$signer" -v time="$signed_at" '
    $1 == "pub" || $1 == "sub" { kind = $1; validity = $2; created = $6; expires = $7 }
    $1 == "fpr" && kind != "" {
        if (kind == "pub" || $10 == signer) {
            if (validity == "r" || validity == "i") bad = 1
            if (time + 0 < created + 0 || (expires != "" && time + 0 >= expires + 0)) bad = 1
        }
        if ($10 == signer) found = 1
        kind = ""
    }
    END { exit !(found && !bad) }' "$work/key" ||
    refuse "the manifest was signed when the pinned key was not valid: expired, or revoked"

# 3. What is signed is what is asked for. The manifest has one key a line.
line() { grep -q -x -F -e "$1" manifest.json; }
field() { sed -n "s/^  \"$1\": \"\([^\"]*\)\",\{0,1\}\$/\1/p" manifest.json; }
line '  "format": "art32/backup/1",' || refuse "the manifest is of a format unknown here"
line "  \"host\": \"$host\"," || refuse "this is a backup of host $(field host), not of $host"
line "  \"source\": \"$source\"," || refuse "this is a backup of $(field source), not of $source"
[ "$(basename "$(pwd -P)")" = "$(field started)-$(field id)" ] ||
    refuse "the directory should be named $(field started)-$(field id)"

# 4. Every byte is what was signed: the manifest has the hash of SHA256SUMS, that one all others.
sums=$(sed -n '/^      "name": "SHA256SUMS",$/,/}/s/^      "sha256": "\([0-9a-f]*\)"$/\1/p' manifest.json)
echo "${sums:-none}  SHA256SUMS" >"$work/sums"
sha256sum --check --strict --quiet "$work/sums" >/dev/null 2>&1 ||
    refuse "SHA256SUMS is not the one that was signed"
sha256sum --check --strict --quiet SHA256SUMS >"$work/differ" 2>/dev/null ||
    refuse "not what was signed, or missing: $(sed -n 's/\(.\{17\}\).*: FAILED.*/\1.../p' "$work/differ" | head -n 3 | tr '\n' ' ')"
sed -n 's/^[0-9a-f]\{64\}  \([0-9]\{5,\}-[0-9a-f]\{64\}\.pgp\)$/\1/p' SHA256SUMS >"$work/segments"
awk -F- '$1 + 0 != NR - 1 { gap = 1 } END { exit gap || NR == 0 }' "$work/segments" ||
    refuse "the segments are not numbered from 0 without a gap"

# 5. The one operation with the private key; gpg may ask for its passphrase or its card.
passphrase=$(gpg --homedir "$private" --no-options --quiet --decrypt key.pgp) ||
    refuse "no private key in $private opens key.pgp"
[ "${#passphrase}" = 44 ] || refuse "key.pgp does not hold a passphrase of 44 characters"

# 6. The data. A loop in a pipe hides a failing segment, even with pipefail: its status is that of
# its last command. So each segment is decrypted into the work space and goes on only when gpg has
# ended well, which is also when it has checked the segment's integrity; a failure ends the loop, and
# the file `sent` is there only after the last one. The here-document is a pipe (in dash, and in
# bash since 5.1): no argument, no variable of the environment and no file holds the passphrase.
decrypt() {
    offline --homedir "$work/empty" --pinentry-mode loopback --passphrase-fd 3 \
        --output - --decrypt "$1" 3<<END
$passphrase
END
}
send() {
    while read -r segment; do
        decrypt "$segment" >"$work/plain" 2>"$work/complaint" </dev/null || {
            echo "restore: segment ${segment%%-*} does not decrypt" >&2
            return 1
        }
        cat "$work/plain" || return 1
    done <"$work/segments"
    : >"$work/sent"
}
send | zstd --decompress --quiet --stdout || refuse "what was decrypted does not decompress whole"
[ -e "$work/sent" ] || refuse "not every segment could be decrypted"
echo DONE >&2
