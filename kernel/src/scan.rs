//! Finds the few places of a text at which a rule could begin to look, 64 bytes at a time.
//!
//! A place that is found in vain costs time; one that is missed costs an address. So each mask
//! takes in more than its rule, and reads ahead by less than 64 bytes.

use crate::bytes::{is_digit, is_label, skip};
use crate::config::Config;

/// One bit for each of 64 bytes.
#[derive(Clone, Copy, Default)]
pub struct Masks {
    dot: u64,
    colon: u64,
    dash: u64,
    at: u64,
    equals: u64,
    bracket: u64,
    slash: u64,
    newline: u64,
    small_r: u64,
    letter_b: u64,
    letter_ae: u64,
    hex: u64,
    header_end: u64,
    path_second: u64,
    path_third: u64,
}

/// The places of a text at which the rules look, in ascending order, by what they may begin.
#[derive(Default)]
pub struct Events {
    pub newlines: Vec<u32>,
    /// The first of three dots, near to each other, as between four numbers.
    pub dots: Vec<u32>,
    /// Those of them behind whose digits and dots a letter or a dash follows.
    pub name_dots: Vec<u32>,
    /// A dot behind eight hexadecimal digits.
    pub hex_dots: Vec<u32>,
    /// The first of three dashes, near to each other.
    pub dashes: Vec<u32>,
    /// A dash as in art32's own tokens.
    pub owns: Vec<u32>,
    /// A colon as in IPv6.
    pub colons: Vec<u32>,
    /// The first of five colons, three apart.
    pub pairs: Vec<u32>,
    /// A colon before two slashes.
    pub urls: Vec<u32>,
    /// A colon or an equals sign behind what may be the end of a name.
    pub separators: Vec<u32>,
    pub slashes: Vec<u32>,
    pub brackets: Vec<u32>,
    pub ats: Vec<u32>,
    /// The first letter of `basic` or `bearer`.
    pub letters: Vec<u32>,
}

impl Events {
    fn clear(&mut self) {
        for list in [
            &mut self.newlines, &mut self.dots, &mut self.name_dots, &mut self.hex_dots,
            &mut self.dashes, &mut self.owns, &mut self.colons, &mut self.pairs, &mut self.urls,
            &mut self.separators, &mut self.slashes, &mut self.brackets, &mut self.ats,
            &mut self.letters,
        ] {
            list.clear();
        }
    }
}

#[inline(always)]
fn push(mut bits: u64, begin: usize, list: &mut Vec<u32>) {
    while bits != 0 {
        list.push((begin + bits.trailing_zeros() as usize) as u32);
        bits &= bits - 1;
    }
}

#[inline(always)]
fn push_if(mut bits: u64, begin: usize, list: &mut Vec<u32>, fits: impl Fn(usize) -> bool) {
    while bits != 0 {
        let place = begin + bits.trailing_zeros() as usize;
        bits &= bits - 1;
        if fits(place) {
            list.push(place as u32);
        }
    }
}

const HEADER_END: &[u8] = b"neyNEY\"' ";

/// Where `source` has a bit k places further on.
#[inline(always)]
fn ahead(now: u64, next: u64, k: u32) -> u64 {
    now >> k | next << (64 - k)
}

/// Where `source` has a bit k places before.
#[inline(always)]
fn behind(now: u64, before: u64, k: u32) -> u64 {
    now << k | before >> (64 - k)
}

/// The loop over a text. A macro, because special instructions are compiled in only where the
/// function that holds them is marked for them.
macro_rules! scan_with {
    ($text:expr, $config:expr, $events:expr, $masks:ident) => {{
        let text: &[u8] = $text;
        let words = (text.len() + 63) / 64;
        let mut tail = [0u8; 64];
        let whole = text.len() / 64;
        tail[..text.len() - whole * 64].copy_from_slice(&text[whole * 64..]);
        let mut now = Masks::default();
        let mut before = Before::default();
        for word in 0..=words {
            let next = if word < whole {
                let block: &[u8; 64] =
                    text[word * 64..word * 64 + 64].try_into().unwrap_or(&[0; 64]);
                $masks!(block, $config)
            } else if word < words {
                $masks!(&tail, $config)
            } else {
                Masks::default()
            };
            if word > 0 {
                candidates(text, (word - 1) * 64, &now, &next, &mut before, $config, $events);
            }
            now = next;
        }
    }};
}

macro_rules! portable {
    ($block:expr, $config:expr) => {
        portable_masks($block)
    };
}

/// Puts the places that matter into `events`, in ascending order.
pub fn scan(text: &[u8], config: &Config, events: &mut Events) {
    events.clear();
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        unsafe { avx2::scan(text, config, events) };
        return;
    }
    scan_with!(text, config, events, portable);
}

/// Without any instruction that not every processor has.
pub fn scan_portable(text: &[u8], config: &Config, events: &mut Events) {
    events.clear();
    scan_with!(text, config, events, portable);
}

/// Puts the places of all bytes that may begin an escape into `places`.
pub fn escapes(text: &[u8], places: &mut Vec<u32>) {
    let is_escape = |byte: u8| byte == b'%' || byte == b'\\' || byte == b'#';
    let mut begin = 0;
    for chunk in text.chunks(32) {
        // without a way out, so that all 32 are compared at once
        if chunk.iter().fold(false, |found, &byte| found | is_escape(byte)) {
            let found = chunk.iter().enumerate().filter(|(_, &byte)| is_escape(byte));
            places.extend(found.map(|(index, _)| (begin + index) as u32));
        }
        begin += 32;
    }
}

#[derive(Default)]
struct Before {
    header_end: u64,
    hex: u64,
    two: u64,
    four: u64,
    eight: u64,
    /// Where the digits and dots end that were looked at last, and whether a name goes on there.
    run_end: usize,
    run_named: bool,
}

#[inline(always)]
fn candidates(
    text: &[u8],
    begin: usize,
    now: &Masks,
    next: &Masks,
    before: &mut Before,
    config: &Config,
    events: &mut Events,
) {
    let byte = |index: usize| if index < text.len() { text[index] } else { 0 };
    let back = |place: usize, count: usize| if place >= count { text[place - count] } else { 0 };
    // three dots, or dashes, two to four places apart from each other
    let near = |n: u64, x: u64| ahead(n, x, 2) | ahead(n, x, 3) | ahead(n, x, 4);
    let triple = |n: u64, x: u64| {
        let first = n & near(n, x);
        // of the next word conservatively: what lies beyond it counts as a dot
        let second = x & (x >> 2 | x >> 3 | x >> 4 | 0xf << 60);
        first & near(first, second)
    };
    let hex = now.hex;
    let inside = behind(hex, before.hex, 1) & ahead(hex, next.hex, 1);
    let mut dots = triple(now.dot, next.dot) & inside;
    while dots != 0 {
        let place = begin + dots.trailing_zeros() as usize;
        dots &= dots - 1;
        events.dots.push(place as u32);
        if place >= before.run_end {
            before.run_end = skip(text, place, |byte| is_digit(byte) || byte == b'.');
            before.run_named = is_label(byte(before.run_end));
        }
        if before.run_named {
            events.name_dots.push(place as u32);
        }
    }
    if now.dash != 0 {
        push(triple(now.dash, next.dash) & inside, begin, &mut events.dashes);
        let own = ahead(now.dash, next.dash, 7) | ahead(now.small_r, next.small_r, 1);
        push(now.dash & own, begin, &mut events.owns);
    }
    // `::`, or a colon with another 10 to 25 places on and a nearer one
    let colon = now.colon;
    if colon != 0 {
        let double = colon & ahead(colon, next.colon, 1);
        let two = colon | ahead(colon, next.colon, 1);
        let two_next = next.colon | next.colon >> 1;
        let four = two | ahead(two, two_next, 2);
        let four_next = two_next | two_next >> 2;
        let eight = four | ahead(four, four_next, 4);
        let eight_next = four_next | four_next >> 4;
        let sixteen = eight | ahead(eight, eight_next, 8);
        let sixteen_next = eight_next | eight_next >> 8;
        let far = ahead(sixteen, sixteen_next, 10);
        let close = ahead(eight, eight_next, 2);
        push(double | colon & far & close, begin, &mut events.colons);
        // five colons three apart: hardware addresses
        let pair = colon & ahead(colon, next.colon, 3);
        let pair_next = next.colon & (next.colon >> 3 | 0x7 << 61);
        let mac = pair & ahead(pair, pair_next, 6) & ahead(colon, next.colon, 12);
        push(mac, begin, &mut events.pairs);
        let url = colon & ahead(now.slash, next.slash, 1) & ahead(now.slash, next.slash, 2);
        push(url, begin, &mut events.urls);
    }
    // what may end the name of a header or a parameter
    let named = (colon | now.equals) & behind(now.header_end, before.header_end, 1) | now.equals;
    push_if(named, begin, &mut events.separators, |place| {
        let last = back(place, 1);
        text[place] == b':'
            || last == b']'
            || is_header_end(last)
            || config.ends_parameter(back(place, 2), last)
    });
    let slash = now.slash
        & ahead(now.path_second, next.path_second, 1)
        & ahead(now.path_third, next.path_third, 2);
    push_if(slash, begin, &mut events.slashes, |place| {
        config.begins_path(byte(place + 1), byte(place + 2))
    });
    let date = now.bracket & ahead(now.slash, next.slash, 3);
    push_if(date, begin, &mut events.brackets, |place| {
        back(place, 1) == b' ' && is_digit(byte(place + 1))
    });
    push(now.newline, begin, &mut events.newlines);
    let letters = now.letter_b & ahead(now.letter_ae, next.letter_ae, 1);
    // eight hexadecimal digits and a dot
    let two = hex & behind(hex, before.hex, 1);
    let four = two & behind(two, before.two, 2);
    let eight = four & behind(four, before.four, 4);
    let hex_dots = now.dot & behind(eight, before.eight, 1);
    if letters | now.at | hex_dots != 0 {
        push(letters, begin, &mut events.letters);
        push(now.at, begin, &mut events.ats);
        push(hex_dots, begin, &mut events.hex_dots);
    }
    before.header_end = now.header_end;
    before.hex = hex;
    before.two = two;
    before.four = four;
    before.eight = eight;
}

fn is_header_end(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & 2 != 0
}

fn portable_masks(block: &[u8; 64]) -> Masks {
    // without a look at the sets of the configuration: the closer look sorts these out
    let mut masks = Masks { path_second: !0, path_third: !0, ..Masks::default() };
    for (index, &byte) in block.iter().enumerate() {
        let bit = 1u64 << index;
        let class = CLASSES[usize::from(byte)];
        if class == 0 {
            continue;
        }
        if class & 1 != 0 {
            masks.hex |= bit;
        }
        if class & 2 != 0 {
            masks.header_end |= bit;
        }
        if class & 4 != 0 {
            masks.letter_ae |= bit;
        }
        match class >> 4 {
            1 => masks.dot |= bit,
            2 => masks.colon |= bit,
            3 => masks.dash |= bit,
            4 => masks.at |= bit,
            5 => masks.equals |= bit,
            6 => masks.bracket |= bit,
            7 => masks.slash |= bit,
            8 => masks.newline |= bit,
            10 => masks.small_r |= bit,
            11 => masks.letter_b |= bit,
            _ => {}
        }
    }
    masks
}

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0u8; 256];
    let mut index = 0;
    while index < 256 {
        let byte = index as u8;
        let mut class = match byte {
            b'.' => 1 << 4,
            b':' => 2 << 4,
            b'-' => 3 << 4,
            b'@' => 4 << 4,
            b'=' => 5 << 4,
            b'[' => 6 << 4,
            b'/' => 7 << 4,
            b'\n' => 8 << 4,
            b'r' => 10 << 4,
            b'b' | b'B' => 11 << 4,
            _ => 0,
        };
        if byte.is_ascii_hexdigit() {
            class |= 1;
        }
        let mut member = 0;
        while member < HEADER_END.len() {
            if HEADER_END[member] == byte {
                class |= 2;
            }
            member += 1;
        }
        if matches!(byte, b'a' | b'e' | b'A' | b'E') {
            class |= 4;
        }
        table[index] = class;
        index += 1;
    }
    table
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{candidates, Before, Config, Events, Masks, HEADER_END};
    use std::arch::x86_64::*;

    /// A set of ASCII bytes as two tables: a byte is in it when the rows of its halves share a bit.
    const fn row(set: &[u8]) -> [u8; 16] {
        let mut table = [0u8; 16];
        let mut index = 0;
        while index < set.len() {
            table[(set[index] & 15) as usize] |= 1 << (set[index] >> 4);
            index += 1;
        }
        table
    }

    static HEX: [u8; 16] = row(b"0123456789ABCDEFabcdef");
    static HEADER: [u8; 16] = row(HEADER_END);
    static HIGH: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 0, 0, 0, 0, 0, 0, 0, 0];

    #[target_feature(enable = "avx2")]
    pub unsafe fn scan(text: &[u8], config: &Config, events: &mut Events) {
        macro_rules! masks {
            ($block:expr, $config:expr) => {
                // SAFETY: this function runs where there is AVX2 only.
                unsafe { masks($block, $config) }
            };
        }
        scan_with!(text, config, events, masks);
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn masks(block: &[u8; 64], config: &Config) -> Masks {
        // SAFETY: called from `scan` alone; the loads are within the block and the tables.
        unsafe {
            let low = _mm256_loadu_si256(block.as_ptr().cast());
            let high = _mm256_loadu_si256(block.as_ptr().add(32).cast());
            macro_rules! both {
                ($one:expr, $two:expr) => {
                    u64::from(_mm256_movemask_epi8($one) as u32)
                        | u64::from(_mm256_movemask_epi8($two) as u32) << 32
                };
            }
            macro_rules! equal {
                ($low:expr, $high:expr, $byte:expr) => {{
                    let all = _mm256_set1_epi8($byte as i8);
                    both!(_mm256_cmpeq_epi8($low, all), _mm256_cmpeq_epi8($high, all))
                }};
            }
            let nibble = _mm256_set1_epi8(15);
            let rows = _mm256_broadcastsi128_si256(_mm_loadu_si128(HIGH.as_ptr().cast()));
            let low_row =
                _mm256_shuffle_epi8(rows, _mm256_and_si256(_mm256_srli_epi16(low, 4), nibble));
            let high_row =
                _mm256_shuffle_epi8(rows, _mm256_and_si256(_mm256_srli_epi16(high, 4), nibble));
            let zero = _mm256_setzero_si256();
            macro_rules! member {
                ($table:expr) => {{
                    let columns =
                        _mm256_broadcastsi128_si256(_mm_loadu_si128($table.as_ptr().cast()));
                    let one = _mm256_and_si256(_mm256_shuffle_epi8(columns, low), low_row);
                    let two = _mm256_and_si256(_mm256_shuffle_epi8(columns, high), high_row);
                    !both!(_mm256_cmpeq_epi8(one, zero), _mm256_cmpeq_epi8(two, zero))
                }};
            }
            let space = _mm256_set1_epi8(0x20);
            let low_small = _mm256_or_si256(low, space);
            let high_small = _mm256_or_si256(high, space);
            Masks {
                dot: equal!(low, high, b'.'),
                colon: equal!(low, high, b':'),
                dash: equal!(low, high, b'-'),
                at: equal!(low, high, b'@'),
                equals: equal!(low, high, b'='),
                bracket: equal!(low, high, b'['),
                slash: equal!(low, high, b'/'),
                newline: equal!(low, high, b'\n'),
                small_r: equal!(low, high, b'r'),
                letter_b: equal!(low_small, high_small, b'b'),
                letter_ae: equal!(low_small, high_small, b'a')
                    | equal!(low_small, high_small, b'e'),
                hex: member!(HEX),
                header_end: member!(HEADER),
                path_second: member!(config.path_second),
                path_third: member!(config.path_third),
            }
        }
    }
}
