//! Finds the few places of a text at which a rule could begin to look, 64 bytes at a time.
//!
//! A place that is found in vain costs time; one that is missed costs an address. So each mask
//! takes in more than its rule, and reads ahead by less than 64 bytes.

use crate::anchors::{Anchors, REACH};
use crate::bytes::{is_digit, is_hex, is_label, skip};
use crate::config::Config;

const WORD: usize = 64;

/// One bit for each of 64 bytes.
#[derive(Clone, Copy, Default)]
struct Masks {
    /// Dots and dashes.
    joint: u64,
    /// Digits and dots.
    number: u64,
    colon: u64,
    newline: u64,
    /// What may begin anything else that a rule looks for; see `anchors.rs`.
    anchor: u64,
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

/// Where `source` has a bit k places further on.
#[inline(always)]
fn ahead(now: u64, next: u64, k: u32) -> u64 {
    now >> k | next << (64 - k)
}

/// So many words are looked at before their places are taken: what the first needs stays in
/// registers, and the masks in the processor's nearest memory.
const BATCH: usize = 32;

/// The loop over a text. A macro, because special instructions are compiled in only where the
/// function that holds them is marked for them.
macro_rules! scan_with {
    ($text:expr, $config:expr, $events:expr, $look:ident) => {{
        let text: &[u8] = $text;
        let words = (text.len() + WORD - 1) / WORD;
        // words that can be looked at in place, with what anchors reach ahead
        let whole = text.len().saturating_sub(REACH - 1) / WORD;
        let mut tail = [0u8; 3 * WORD];
        let rest = &text[whole * WORD..];
        tail[..rest.len()].copy_from_slice(rest);
        let mut now = Masks::default();
        // where the digits and dots end that were looked at last, when they are many
        let mut run_end = 0;
        let mut batch = [Masks::default(); BATCH];
        let mut begin = 0;
        while begin <= words {
            let count = BATCH.min(words + 1 - begin);
            let in_place = count.min(whole.saturating_sub(begin));
            let bytes = text.get(begin * WORD..).unwrap_or(&[]);
            $look!(bytes, $config, &mut batch[..in_place]);
            for (word, masks) in batch[..count].iter_mut().enumerate().skip(in_place) {
                *masks = Masks::default();
                if begin + word < words {
                    let place = (begin + word - whole) * WORD;
                    $look!(&tail[place..], $config, std::slice::from_mut(masks));
                }
            }
            for (word, next) in batch[..count].iter().enumerate() {
                if begin + word > 0 {
                    let place = (begin + word - 1) * WORD;
                    candidates(text, place, &now, next, &mut run_end, $config, $events);
                }
                now = *next;
            }
            begin += count;
        }
    }};
}

macro_rules! portable {
    ($bytes:expr, $config:expr, $found:expr) => {
        for (word, masks) in $found.iter_mut().enumerate() {
            let begin = word * WORD;
            *masks = portable_masks(&$bytes[begin..begin + WORD + REACH - 1], &$config.anchors);
        }
    };
}

/// Which instructions may be used: all that the processor has, none but the plain ones, or no
/// AVX-512.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Instructions {
    All,
    Plain,
    Narrow,
}

pub type Scan = fn(&[u8], &Config, &mut Events);
pub type Escapes = fn(&[u8], &mut Vec<u32>);

/// What puts the places that matter into `events`, and what those of all bytes that may begin an
/// escape into a list; both in ascending order.
pub fn chosen(instructions: Instructions) -> (Scan, Escapes) {
    #[cfg(all(target_arch = "x86_64", feature = "avx512"))]
    if instructions == Instructions::All && avx512::is_there() {
        return (avx512::begin, avx512::begin_escapes);
    }
    #[cfg(target_arch = "x86_64")]
    if instructions != Instructions::Plain && avx2::is_there() {
        return (avx2::begin, avx2::begin_escapes);
    }
    let _ = instructions;
    (scan_portable, escapes_portable)
}

/// Without any instruction that not every processor has.
fn scan_portable(text: &[u8], config: &Config, events: &mut Events) {
    events.clear();
    scan_with!(text, config, events, portable);
}

fn escapes_portable(text: &[u8], places: &mut Vec<u32>) {
    places.clear();
    escapes_from(text, 0, places);
}

fn escapes_from(text: &[u8], begin: usize, places: &mut Vec<u32>) {
    let is_escape = |byte: u8| byte == b'%' || byte == b'\\' || byte == b'#';
    let rest = text[begin..].iter().enumerate().filter(|(_, &byte)| is_escape(byte));
    places.extend(rest.map(|(index, _)| (begin + index) as u32));
}

#[inline(always)]
fn candidates(
    text: &[u8],
    begin: usize,
    now: &Masks,
    next: &Masks,
    run_end: &mut usize,
    config: &Config,
    events: &mut Events,
) {
    let mut newlines = now.newline;
    while newlines != 0 {
        events.newlines.push((begin + newlines.trailing_zeros() as usize) as u32);
        newlines &= newlines - 1;
    }
    // three dots, or dashes, two to four places apart from each other
    let near = |n: u64, x: u64| ahead(n, x, 2) | ahead(n, x, 3) | ahead(n, x, 4);
    let mut joints = now.joint & near(now.joint, next.joint);
    if joints != 0 {
        let (n, x) = (now.joint, next.joint);
        // of the next word conservatively: what lies beyond it counts as a dot
        let second = x & (x >> 2 | x >> 3 | x >> 4 | 0xf << 60);
        joints &= near(n & near(n, x), second);
    }
    while joints != 0 {
        let bit = joints.trailing_zeros();
        joints &= joints - 1;
        let place = begin + bit as usize;
        if place == 0 || !is_hex(text[place - 1]) {
            continue;
        }
        if text[place] == b'-' {
            events.dashes.push(place as u32);
            continue;
        }
        events.dots.push(place as u32);
        let numbers = if bit == 0 { now.number } else { ahead(now.number, next.number, bit) };
        let mut end = place + (!numbers).trailing_zeros() as usize;
        if end == place + WORD {
            if end > *run_end {
                *run_end = skip(text, end, |byte| is_digit(byte) || byte == b'.');
            }
            end = *run_end;
        }
        if end < text.len() && is_label(text[end]) {
            events.name_dots.push(place as u32);
        }
    }
    if now.colon != 0 {
        colons(text, begin, now, next, events);
    }
    let mut anchors = now.anchor;
    while anchors != 0 {
        let place = begin + anchors.trailing_zeros() as usize;
        anchors &= anchors - 1;
        anchor(text, place, config, events);
    }
}

/// `::`, or a colon with another 10 to 25 places on and a nearer one.
#[inline(always)]
fn colons(text: &[u8], begin: usize, now: &Masks, next: &Masks, events: &mut Events) {
    let colon = now.colon;
    let mut found = colon & ahead(colon, next.colon, 1);
    // eight groups have seven colons, and six pairs five
    if colon.count_ones() + next.colon.count_ones() > 4 {
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
        found |= colon & far & close;
    }
    while found != 0 {
        let place = begin + found.trailing_zeros() as usize;
        found &= found - 1;
        events.colons.push(place as u32);
        let is_colon = |index: usize| index < text.len() && text[index] == b':';
        if is_colon(place + 3) && is_colon(place + 6) && is_colon(place + 9) && is_colon(place + 12)
        {
            events.pairs.push(place as u32);
        }
    }
}

/// Looks closer at an anchor: which rule it may be for.
#[inline(always)]
fn anchor(text: &[u8], place: usize, config: &Config, events: &mut Events) {
    let byte = |index: usize| if index < text.len() { text[index] } else { 0 };
    let back = |count: usize| if place >= count { text[place - count] } else { 0 };
    let here = place as u32;
    match text[place] {
        b'=' => {
            let last = back(1);
            if last == b']' || Anchors::ends_header(last) || config.ends_parameter(back(2), last) {
                events.separators.push(here);
            }
        }
        b':' => {
            if byte(place + 1) == b'/' && byte(place + 2) == b'/' {
                events.urls.push(here);
            }
        }
        b'/' => {
            if config.begins_path(byte(place + 1), byte(place + 2)) {
                events.slashes.push(here);
            }
        }
        b'[' => {
            if back(1) == b' ' && is_digit(byte(place + 1)) && byte(place + 3) == b'/' {
                events.brackets.push(here);
            }
        }
        b'@' => events.ats.push(here),
        b'b' | b'B' => events.letters.push(here),
        b'.' => {
            if place >= 8 && text[place - 8..place].iter().rev().all(|&each| is_hex(each)) {
                events.hex_dots.push(here);
            }
        }
        other => match byte(place + 1) {
            b'-' => events.owns.push(here + 1),
            b':' if Anchors::ends_header(other) => events.separators.push(here + 1),
            _ => {}
        },
    }
}

fn portable_masks(bytes: &[u8], anchors: &Anchors) -> Masks {
    let mut masks = Masks::default();
    for index in 0..WORD {
        let bit = 1u64 << index;
        match bytes[index] {
            b'.' => {
                masks.joint |= bit;
                masks.number |= bit;
            }
            b'0'..=b'9' => masks.number |= bit,
            b'-' => masks.joint |= bit,
            b':' => masks.colon |= bit,
            b'\n' => masks.newline |= bit,
            _ => {}
        }
        if anchors.fit(&bytes[index..index + REACH]) {
            masks.anchor |= bit;
        }
    }
    masks
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{candidates, escapes_from, Config, Events, Masks, BATCH, REACH, WORD};
    use std::arch::x86_64::*;

    pub fn is_there() -> bool {
        is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("popcnt")
            && is_x86_feature_detected!("lzcnt")
    }

    pub fn begin(text: &[u8], config: &Config, events: &mut Events) {
        events.clear();
        // SAFETY: chosen where the processor has all that is asked for.
        unsafe { scan(text, config, events) };
    }

    pub fn begin_escapes(text: &[u8], places: &mut Vec<u32>) {
        places.clear();
        // SAFETY: as above.
        let looked_at = unsafe { escapes(text, places) };
        escapes_from(text, looked_at, places);
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
    unsafe fn scan(text: &[u8], config: &Config, events: &mut Events) {
        macro_rules! look {
            ($bytes:expr, $config:expr, $found:expr) => {
                // SAFETY: this function runs where there is AVX2 only.
                unsafe { look($bytes, $config, $found) }
            };
        }
        scan_with!(text, config, events, look);
    }

    /// Looks at all but the last bytes of a text, fewer than 64; returns where those begin.
    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
    unsafe fn escapes(text: &[u8], places: &mut Vec<u32>) -> usize {
        let mut begin = 0;
        for word in text.chunks_exact(WORD) {
            // SAFETY: called where there is AVX2; the loads are within `word`.
            let mut found = unsafe {
                let low = _mm256_loadu_si256(word.as_ptr().cast());
                let high = _mm256_loadu_si256(word.as_ptr().add(32).cast());
                let any = |here: __m256i| {
                    let equal =
                        |byte: u8| _mm256_cmpeq_epi8(here, _mm256_set1_epi8(byte as i8));
                    _mm256_or_si256(_mm256_or_si256(equal(b'%'), equal(b'\\')), equal(b'#'))
                };
                let (low, high) = (any(low), any(high));
                if _mm256_testz_si256(_mm256_or_si256(low, high), _mm256_set1_epi8(-1)) == 1 {
                    0
                } else {
                    u64::from(_mm256_movemask_epi8(low) as u32)
                        | u64::from(_mm256_movemask_epi8(high) as u32) << 32
                }
            };
            while found != 0 {
                places.push((begin + found.trailing_zeros() as usize) as u32);
                found &= found - 1;
            }
            begin += WORD;
        }
        begin
    }

    /// The masks of words in a row; a function of its own, so that tables stay in registers.
    #[inline(never)]
    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
    unsafe fn look(bytes: &[u8], config: &Config, found: &mut [Masks]) {
        for (word, place) in found.iter_mut().enumerate() {
            let begin = word * WORD;
            // SAFETY: as for this function.
            *place = unsafe { masks(&bytes[begin..begin + WORD + REACH - 1], config) };
        }
    }

    /// The masks of the first 64 of 66 bytes.
    #[inline]
    #[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
    unsafe fn masks(bytes: &[u8], config: &Config) -> Masks {
        assert!(bytes.len() >= WORD + REACH - 1);
        let mut masks = Masks::default();
        // SAFETY: called where there is AVX2; the loads are within `bytes` and the tables.
        unsafe {
            let nibble = _mm256_set1_epi8(15);
            let zero = _mm256_setzero_si256();
            let tables = &config.anchors.tables;
            macro_rules! table {
                ($index:expr) => {
                    _mm256_broadcastsi128_si256(_mm_loadu_si128(tables[$index].as_ptr().cast()))
                };
            }
            macro_rules! load {
                ($place:expr) => {
                    _mm256_loadu_si256(bytes.as_ptr().add($place).cast())
                };
            }
            // the sets, one a bit, that a byte is in
            macro_rules! sets {
                ($bytes:expr, $index:expr) => {
                    _mm256_and_si256(
                        _mm256_shuffle_epi8(table!($index), _mm256_and_si256($bytes, nibble)),
                        _mm256_shuffle_epi8(
                            table!($index + 1),
                            _mm256_and_si256(_mm256_srli_epi16($bytes, 4), nibble),
                        ),
                    )
                };
            }
            macro_rules! bits {
                ($vector:expr) => {
                    u64::from(_mm256_movemask_epi8($vector) as u32)
                };
            }
            macro_rules! half {
                ($begin:expr) => {{
                    let here = load!($begin);
                    let equal = |byte: u8| _mm256_cmpeq_epi8(here, _mm256_set1_epi8(byte as i8));
                    let dot = equal(b'.');
                    let digits = _mm256_sub_epi8(here, _mm256_set1_epi8(b'0' as i8));
                    let digit =
                        _mm256_cmpeq_epi8(_mm256_min_epu8(digits, _mm256_set1_epi8(9)), digits);
                    masks.joint |= bits!(_mm256_or_si256(dot, equal(b'-'))) << $begin;
                    masks.number |= bits!(_mm256_or_si256(dot, digit)) << $begin;
                    masks.colon |= bits!(equal(b':')) << $begin;
                    masks.newline |= bits!(equal(b'\n')) << $begin;
                    let fit = _mm256_and_si256(
                        _mm256_and_si256(sets!(here, 0), sets!(load!($begin + 1), 2)),
                        sets!(load!($begin + 2), 4),
                    );
                    let none = bits!(_mm256_cmpeq_epi8(fit, zero)) as u32;
                    masks.anchor |= u64::from(!none) << $begin;
                }};
            }
            half!(0);
            half!(32);
        }
        masks
    }
}

/// The same with 64 bytes at once and tables of 128. Compiled in from rustc 1.89 on.
#[cfg(all(target_arch = "x86_64", feature = "avx512"))]
#[allow(unused_unsafe)]
mod avx512 {
    use super::{candidates, escapes_from, Config, Events, Masks, BATCH, REACH, WORD};
    use std::arch::x86_64::*;

    pub fn is_there() -> bool {
        super::avx2::is_there()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vbmi")
    }

    pub fn begin(text: &[u8], config: &Config, events: &mut Events) {
        events.clear();
        // SAFETY: chosen where the processor has all that is asked for.
        unsafe { scan(text, config, events) };
    }

    pub fn begin_escapes(text: &[u8], places: &mut Vec<u32>) {
        places.clear();
        // SAFETY: as above.
        let looked_at = unsafe { escapes(text, places) };
        escapes_from(text, looked_at, places);
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx2,bmi1,bmi2,popcnt,lzcnt")]
    unsafe fn scan(text: &[u8], config: &Config, events: &mut Events) {
        macro_rules! look {
            ($bytes:expr, $config:expr, $found:expr) => {
                // SAFETY: this function runs where there is AVX-512 only.
                unsafe { look($bytes, $config, $found) }
            };
        }
        scan_with!(text, config, events, look);
    }

    /// Looks at all but the last bytes of a text, fewer than 64; returns where those begin.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx2,bmi1,bmi2,popcnt,lzcnt")]
    unsafe fn escapes(text: &[u8], places: &mut Vec<u32>) -> usize {
        let mut begin = 0;
        for word in text.chunks_exact(WORD) {
            // SAFETY: called where there is AVX-512; the load is all of `word`.
            let mut found = unsafe {
                let here = _mm512_loadu_si512(word.as_ptr().cast());
                let equal = |byte: u8| _mm512_cmpeq_epi8_mask(here, _mm512_set1_epi8(byte as i8));
                equal(b'%') | equal(b'\\') | equal(b'#')
            };
            while found != 0 {
                places.push((begin + found.trailing_zeros() as usize) as u32);
                found &= found - 1;
            }
            begin += WORD;
        }
        begin
    }

    /// The masks of words in a row; a function of its own, so that tables stay in registers.
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx2,bmi1,bmi2,popcnt,lzcnt")]
    unsafe fn look(bytes: &[u8], config: &Config, found: &mut [Masks]) {
        for (word, place) in found.iter_mut().enumerate() {
            let begin = word * WORD;
            // SAFETY: as for this function.
            *place = unsafe { masks(&bytes[begin..begin + WORD + REACH - 1], config) };
        }
    }

    /// The masks of the first 64 of 66 bytes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx2,bmi1,bmi2,popcnt,lzcnt")]
    unsafe fn masks(bytes: &[u8], config: &Config) -> Masks {
        assert!(bytes.len() >= WORD + REACH - 1);
        let anchors = &config.anchors;
        // SAFETY: called where there is AVX-512; the loads are within `bytes` and the tables.
        unsafe {
            macro_rules! load {
                ($place:expr) => {
                    _mm512_loadu_si512(bytes.as_ptr().add($place).cast())
                };
            }
            // the patterns, one a bit, that a byte fits at its position
            macro_rules! fit {
                ($bytes:expr, $position:expr) => {{
                    let table = anchors.low($position).as_ptr();
                    let fits = _mm512_permutex2var_epi8(
                        _mm512_loadu_si512(table.cast()),
                        $bytes,
                        _mm512_loadu_si512(table.add(64).cast()),
                    );
                    let high = _mm512_set1_epi8(anchors.high[$position] as i8);
                    _mm512_mask_mov_epi8(fits, _mm512_movepi8_mask($bytes), high)
                }};
            }
            let here = load!(0);
            let equal = |byte: u8| _mm512_cmpeq_epi8_mask(here, _mm512_set1_epi8(byte as i8));
            let dot = equal(b'.');
            let digits = _mm512_sub_epi8(here, _mm512_set1_epi8(b'0' as i8));
            let fits = _mm512_and_si512(fit!(here, 0), fit!(load!(1), 1));
            Masks {
                joint: dot | equal(b'-'),
                number: dot | _mm512_cmplt_epu8_mask(digits, _mm512_set1_epi8(10)),
                colon: equal(b':'),
                newline: equal(b'\n'),
                anchor: _mm512_test_epi8_mask(fits, fit!(load!(2), 2)),
            }
        }
    }
}
