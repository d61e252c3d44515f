//! Classes of bytes, and looks at text that end where it ends.

const DIGIT: u8 = 1;
const HEX: u8 = 2;
const WORD: u8 = 4;
const LABEL: u8 = 8;
const LOCAL: u8 = 16;
const AUTHORITY_END: u8 = 32;
const OPENING: u8 = 64;
const CLOSING: u8 = 128;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let byte = index as u8;
        let mut class = 0;
        if byte.is_ascii_digit() {
            class |= DIGIT;
        }
        if byte.is_ascii_hexdigit() {
            class |= HEX;
        }
        if byte == b'_' || (byte.is_ascii_alphabetic() && !byte.is_ascii_hexdigit()) {
            class |= WORD;
        }
        if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' {
            class |= LABEL | LOCAL;
        }
        if byte >= 0x80 || matches!(byte, b'.' | b'%' | b'+' | b'\'') {
            class |= LOCAL;
        }
        if matches!(byte, b'@' | b'/' | b'?' | b'#' | b'"' | b'<' | b'>' | b'\\' | b' ' | 9..=13) {
            class |= AUTHORITY_END;
        }
        if matches!(
            byte,
            b' ' | b'"' | b'[' | b'(' | b',' | b';' | b'<' | b'=' | b'/' | b'\'' | b'\t' | b'{' | b'|' | b'\n'
        ) {
            class |= OPENING;
        }
        if matches!(
            byte,
            b' ' | b'"' | b']' | b')' | b'>' | b',' | b';' | b'/' | b'\'' | b'\t' | b'}' | b'|' | b'&' | b'?'
                | b'\r' | b'\n'
        ) {
            class |= CLOSING;
        }
        table[index] = class;
        index += 1;
    }
    table
}

#[inline(always)]
fn is(byte: u8, class: u8) -> bool {
    CLASSES[usize::from(byte)] & class != 0
}

#[inline(always)]
pub fn is_digit(byte: u8) -> bool {
    is(byte, DIGIT)
}

#[inline(always)]
pub fn is_hex(byte: u8) -> bool {
    is(byte, HEX)
}

/// A letter that is no hexadecimal digit, or `_`.
#[inline(always)]
pub fn is_word(byte: u8) -> bool {
    is(byte, WORD)
}

/// What names of parameters and host labels consist of.
#[inline(always)]
pub fn is_label(byte: u8) -> bool {
    is(byte, LABEL)
}

/// What the local part of an e-mail address consists of.
#[inline(always)]
pub fn is_local(byte: u8) -> bool {
    is(byte, LOCAL)
}

/// What ends the authority of a URL, or the user in it.
#[inline(always)]
pub fn ends_authority(byte: u8) -> bool {
    is(byte, AUTHORITY_END)
}

/// Behind what nothing joins to what follows.
#[inline(always)]
pub fn is_opening(byte: u8) -> bool {
    is(byte, OPENING)
}

/// Before what nothing joins to what was before.
#[inline(always)]
pub fn is_closing(byte: u8) -> bool {
    is(byte, CLOSING)
}

/// The byte at a place, 0 beyond the end.
#[inline(always)]
pub fn at(text: &[u8], index: usize) -> u8 {
    if index < text.len() {
        text[index]
    } else {
        0
    }
}

/// The first place from `start` on whose byte is not of a class.
#[inline(always)]
pub fn skip(text: &[u8], start: usize, class: impl Fn(u8) -> bool) -> usize {
    let mut end = start;
    while end < text.len() && class(text[end]) {
        end += 1;
    }
    end
}

/// The lowest place from which on to `end` all bytes are of a class.
#[inline(always)]
pub fn skip_back(text: &[u8], end: usize, class: impl Fn(u8) -> bool) -> usize {
    let mut start = end;
    while start > 0 && class(text[start - 1]) {
        start -= 1;
    }
    start
}

pub fn starts_with_any_case(text: &[u8], start: usize, small: &[u8]) -> bool {
    text.len() >= start + small.len()
        && text[start..start + small.len()].eq_ignore_ascii_case(small)
}

pub fn rfind(text: &[u8], byte: u8) -> Option<usize> {
    text.iter().rposition(|&each| each == byte)
}

/// Where a byte is first, or the length of the text.
pub fn find_byte(text: &[u8], byte: u8) -> usize {
    const ONES: u64 = u64::MAX / 255;
    let mut place = 0;
    while let Some(eight) = text.get(place..place + 8) {
        // a byte of zero where the wanted one is; the lowest that is told so is one
        let eight: [u8; 8] = eight.try_into().unwrap_or_default();
        let other = u64::from_le_bytes(eight) ^ (ONES * u64::from(byte));
        let zeros = other.wrapping_sub(ONES) & !other & (ONES << 7);
        if zeros != 0 {
            return place + zeros.trailing_zeros() as usize / 8;
        }
        place += 8;
    }
    skip(text, place, |each| each != byte)
}

pub fn hex_value(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        _ => byte.wrapping_sub(b'A').wrapping_add(10),
    }
}

/// The number that decimal digits make; saturates.
pub fn decimal(digits: &[u8]) -> u64 {
    digits.iter().fold(0u64, |sum, &digit| {
        sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
    })
}
