//! Writes what stands in the place of what was found.

use crate::config::{mask6, Config, Mode, NAMES};
use crate::out::Out;
use crate::span::{Form, Kind, Span};
use crate::tokens::Cache;

pub const SIX_TO_FOUR: u128 = 0x2002;
const DIGITS: &[u8; 16] = b"0123456789abcdef";

fn name_of(kind: Kind) -> usize {
    match kind {
        Kind::Ipv4 => 0,
        Kind::Ipv6 => 1,
        Kind::Malformed => 2,
        Kind::Email => 3,
        Kind::Parameter => 4,
        Kind::Path => 5,
        Kind::Credential => 6,
        Kind::User => 7,
        Kind::Mac => 8,
        _ => 9,
    }
}

const LONGEST_MARK: usize = 32;

/// What stands in the place of each kind of thing that is removed, and how long it is.
static MARKS: [([u8; LONGEST_MARK], usize); 10] = marks();

const fn marks() -> [([u8; LONGEST_MARK], usize); 10] {
    let mut marks = [([0; LONGEST_MARK], 0); 10];
    let mut name = 0;
    while name < NAMES.len() {
        let parts: [&[u8]; 2] = [NAMES[name], b"-removed"];
        let mut part = 0;
        while part < 2 {
            let mut index = 0;
            while index < parts[part].len() {
                let length = marks[name].1;
                marks[name].0[length] = parts[part][index];
                marks[name].1 += 1;
                index += 1;
            }
            part += 1;
        }
        name += 1;
    }
    marks
}

fn removed(kind: Kind, out: &mut Out) {
    let (mark, length) = &MARKS[name_of(kind)];
    out.write(|text| {
        *text = *mark;
        *length
    });
}

/// Each byte as two digits.
static PAIRS: [[u8; 2]; 256] = pairs();

const fn pairs() -> [[u8; 2]; 256] {
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    table
}

fn token(name: usize, digest: u64, config: &Config, out: &mut Out) {
    let name = NAMES[name];
    out.write(|text: &mut [u8; 40]| {
        *text = [b'-'; 40];
        text[..name.len()].copy_from_slice(name);
        let mut length = name.len() + 1;
        text[length..length + 6].copy_from_slice(&config.key_id);
        length += 7;
        for byte in digest.to_be_bytes() {
            text[length..length + 2].copy_from_slice(&PAIRS[usize::from(byte)]);
            length += 2;
        }
        length
    });
}

/// Given a span and the text in which its places count, writes its replacement.
pub fn write(span: &Span, text: &[u8], config: &Config, cache: &mut Cache, out: &mut Out) {
    match config.mode {
        Mode::Remove => removed(span.kind, out),
        Mode::Truncate => truncate(span, text, config, out),
        Mode::Pseudonym if span.kind == Kind::Malformed => removed(span.kind, out),
        Mode::Pseudonym => {
            if let Some((name, digest)) = cache.digest(span, config) {
                token(name, digest, config, out);
                return;
            }
            let value = &text[span.start as usize..span.value_end as usize];
            let name = name_of(span.kind);
            let key = &config.keys[name];
            let digest = match (span.kind, span.form) {
                (Kind::Mac, _) => {
                    let bare: Vec<u8> = value
                        .iter()
                        .filter(|&&byte| byte != b':' && byte != b'-')
                        .map(u8::to_ascii_lowercase)
                        .collect();
                    key.digest(&bare)
                }
                (Kind::Email, _) | (Kind::Name, Form::Opaque | Form::HexLabel) => {
                    key.digest(&value.to_ascii_lowercase())
                }
                _ => key.digest(value),
            };
            token(name, digest, config, out);
        }
    }
}

/// Writes what follows the bytes of an address that are kept.
#[inline(always)]
pub fn write_zeros(span: &Span, config: &Config, out: &mut Out) {
    out.write(|text: &mut [u8; 8]| {
        let is_quad = span.form == Form::Quad;
        *text = if is_quad { *b"0.0.0.0." } else { *b"::::::::" };
        if is_quad { 7 - 2 * config.kept_octets } else { 1 }
    });
}

fn truncate(span: &Span, text: &[u8], config: &Config, out: &mut Out) {
    match span.form {
        Form::Quad => quad(span.number() as u32 & config.ipv4_mask, out),
        Form::Mapped => {
            out.extend_from_slice(b"::ffff:");
            quad(span.number() as u32 & config.ipv4_mask, out);
        }
        Form::Groups => groups(span.number(), config, out),
        Form::Decimal => number(span.number() as u32 & config.ipv4_mask, out),
        Form::Hexadecimal => {
            out.extend_from_slice(b"0x");
            let value = span.number() as u32 & config.ipv4_mask;
            (0..8).rev().for_each(|index| out.push(DIGITS[(value >> (4 * index) & 15) as usize]));
        }
        Form::MalformedQuad | Form::Dotted => out.extend_from_slice(b"0.0.0.0"),
        Form::MalformedGroups => out.extend_from_slice(b"::"),
        Form::Dashed => out.extend_from_slice(b"0-0-0-0"),
        Form::HexLabel => out.extend_from_slice(b"00000000"),
        Form::Mac => {
            let value = &text[span.start as usize..span.value_end as usize];
            let length = if value.len() == 23 { 8 } else { 6 };
            value.iter().enumerate().for_each(|(index, &byte)| {
                let pair = index / 3;
                let kept = index % 3 == 2 || pair % length < 3;
                out.push(if kept { byte } else { b'0' });
            });
        }
        Form::Opaque | Form::Stays => removed(span.kind, out),
    }
}

/// Each octet as digits, and in the last byte how many they are.
static OCTETS: [[u8; 4]; 256] = octets();

const fn octets() -> [[u8; 4]; 256] {
    let mut table = [[0u8; 4]; 256];
    let mut octet = 0;
    while octet < 256 {
        let (hundreds, tens, ones) =
            (b'0' + (octet / 100) as u8, b'0' + (octet / 10 % 10) as u8, b'0' + (octet % 10) as u8);
        table[octet] = if octet >= 100 {
            [hundreds, tens, ones, 3]
        } else if octet >= 10 {
            [tens, ones, 0, 2]
        } else {
            [ones, 0, 0, 1]
        };
        octet += 1;
    }
    table
}

fn quad(address: u32, out: &mut Out) {
    // each octet is written with a byte too many, which the next thing covers
    out.write(|text: &mut [u8; 17]| {
        let mut length = 0;
        for octet in address.to_be_bytes() {
            let digits = OCTETS[usize::from(octet)];
            text[length..length + 4].copy_from_slice(&digits);
            length += usize::from(digits[3]) + 1;
            text[length - 1] = b'.';
        }
        length - 1
    });
}

fn number(value: u32, out: &mut Out) {
    out.extend_from_slice(value.to_string().as_bytes());
}

/// Writes the first bits as RFC 5952 says. At most 64 are kept, so the zeros at the end are the
/// longest row of them.
fn groups(address: u128, config: &Config, out: &mut Out) {
    let mut bits = config.ipv6_prefix;
    if address >> 112 == SIX_TO_FOUR {
        bits = bits.min(16 + config.ipv4_prefix);
    }
    let kept = (address & mask6(bits)) >> 64;
    let kept = kept as u64;
    let count = (64 - kept.trailing_zeros().min(64) as usize + 15) / 16;
    out.write(|text: &mut [u8; 24]| {
        let mut length = 0;
        for index in 0..count {
            let group = (kept >> (48 - 16 * index) & 0xffff) as usize;
            let digits = [group >> 12, group >> 8 & 15, group >> 4 & 15, group & 15];
            let zeros = (group as u16 | 1).leading_zeros() as usize / 4;
            for &digit in &digits[zeros..] {
                text[length] = DIGITS[digit];
                length += 1;
            }
            text[length] = b':';
            length += 1;
        }
        // the colon behind the last group is the first of two
        text[length] = b':';
        text[length + 1] = b':';
        length + if count > 0 { 1 } else { 2 }
    });
}
