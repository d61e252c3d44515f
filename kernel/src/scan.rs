//! Finds the few places of a text at which a rule could begin to look, 64 bytes at a time.
//!
//! A place that is found in vain costs time; one that is missed costs an address. So each mask
//! takes in more than its rule, and reads ahead by less than 64 bytes.

use crate::anchors::{Anchors, REACH};
use crate::bytes::is_hex;
use crate::config::Config;
use crate::places::{Events, Masks, Word, WORD};

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
        $events.begin(words);
        $look!(text, $config, &mut $events.masks, 0, whole);
        $look!(&tail[..], $config, &mut $events.masks, whole, words);
        $events.find(text, $config);
    }};
}

macro_rules! portable {
    ($bytes:expr, $config:expr, $masks:expr, $first:expr, $end:expr) => {
        for word in $first..$end {
            let begin = (word - $first) * WORD;
            let bytes = &$bytes[begin..begin + WORD + REACH - 1];
            $masks.put(word, portable_masks(bytes, &$config.anchors));
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

fn portable_masks(bytes: &[u8], anchors: &Anchors) -> Word {
    let mut masks = Word::default();
    for index in 0..WORD {
        let bit = 1u64 << index;
        match bytes[index] {
            b'.' => masks.dot |= bit,
            b'0'..=b'9' => masks.digit |= bit,
            b'-' => masks.dash |= bit,
            b':' => masks.colon |= bit,
            b'\n' => masks.anchor |= bit,
            _ => {}
        }
        if is_hex(bytes[index]) {
            masks.hex |= bit;
        }
        if anchors.fit(&bytes[index..index + REACH]) {
            masks.anchor |= bit;
        }
    }
    masks
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use super::{escapes_from, Config, Events, Masks, Word, REACH, WORD};
    use std::arch::x86_64::*;

    pub fn is_there() -> bool {
        is_x86_feature_detected!("avx")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("popcnt")
            && is_x86_feature_detected!("lzcnt")
    }

    pub fn begin(text: &[u8], config: &Config, events: &mut Events) {
        // SAFETY: chosen where the processor has all that is asked for.
        unsafe { scan(text, config, events) };
    }

    pub fn begin_escapes(text: &[u8], places: &mut Vec<u32>) {
        places.clear();
        // SAFETY: as above.
        let looked_at = unsafe { escapes(text, places) };
        escapes_from(text, looked_at, places);
    }

    #[target_feature(enable = "avx,avx2,bmi1,bmi2,popcnt,lzcnt")]
    unsafe fn scan(text: &[u8], config: &Config, events: &mut Events) {
        macro_rules! look {
            ($bytes:expr, $config:expr, $masks:expr, $first:expr, $end:expr) => {
                // SAFETY: this function runs where there is AVX2 only.
                unsafe { look($bytes, $config, $masks, $first, $end) }
            };
        }
        scan_with!(text, config, events, look);
    }

    /// Looks at all but the last bytes of a text, fewer than 64; returns where those begin.
    #[target_feature(enable = "avx,avx2,bmi1,bmi2,popcnt,lzcnt")]
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

    /// The masks of words in a row, of which the first is at the beginning of `bytes`; a function of
    /// its own, so that tables stay in registers.
    #[inline(never)]
    #[target_feature(enable = "avx,avx2,bmi1,bmi2,popcnt,lzcnt")]
    unsafe fn look(bytes: &[u8], config: &Config, found: &mut Masks, first: usize, end: usize) {
        for word in first..end {
            let begin = (word - first) * WORD;
            // SAFETY: as for this function.
            found.put(word, unsafe { masks(&bytes[begin..begin + WORD + REACH - 1], config) });
        }
    }

    /// The masks of the first 64 of 66 bytes.
    #[inline]
    #[target_feature(enable = "avx,avx2,bmi1,bmi2,popcnt,lzcnt")]
    unsafe fn masks(bytes: &[u8], config: &Config) -> Word {
        assert!(bytes.len() >= WORD + REACH - 1);
        let mut masks = Word::default();
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
            // one instruction, and not what some compilers make of _mm256_movemask_epi8 when there
            // are several: 32 bytes taken out one by one, in half as much time again
            macro_rules! bits {
                ($vector:expr) => {{
                    let mask: u32;
                    // of registers alone
                    std::arch::asm!(
                        "vpmovmskb {mask:e}, {vector}",
                        mask = lateout(reg) mask,
                        vector = in(ymm_reg) $vector,
                        options(pure, nomem, nostack, preserves_flags),
                    );
                    u64::from(mask)
                }};
            }
            macro_rules! half {
                ($begin:expr) => {{
                    let here = load!($begin);
                    let equal = |byte: u8| _mm256_cmpeq_epi8(here, _mm256_set1_epi8(byte as i8));
                    let dot = equal(b'.');
                    let digits = _mm256_sub_epi8(here, _mm256_set1_epi8(b'0' as i8));
                    let digit =
                        _mm256_cmpeq_epi8(_mm256_min_epu8(digits, _mm256_set1_epi8(9)), digits);
                    masks.dash |= bits!(equal(b'-')) << $begin;
                    let letters = _mm256_sub_epi8(
                        _mm256_or_si256(here, _mm256_set1_epi8(0x20)),
                        _mm256_set1_epi8(b'a' as i8),
                    );
                    let letter =
                        _mm256_cmpeq_epi8(_mm256_min_epu8(letters, _mm256_set1_epi8(5)), letters);
                    masks.dot |= bits!(dot) << $begin;
                    masks.digit |= bits!(digit) << $begin;
                    masks.hex |= bits!(_mm256_or_si256(digit, letter)) << $begin;
                    masks.colon |= bits!(equal(b':')) << $begin;
                    let fit = _mm256_and_si256(
                        _mm256_and_si256(sets!(here, 0), sets!(load!($begin + 1), 2)),
                        sets!(load!($begin + 2), 4),
                    );
                    let none = bits!(_mm256_cmpeq_epi8(fit, zero)) as u32;
                    masks.anchor |= bits!(equal(b'\n')) << $begin;
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
    use super::{escapes_from, Config, Events, Masks, Word, REACH, WORD};
    use std::arch::x86_64::*;

    pub fn is_there() -> bool {
        super::avx2::is_there()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vbmi")
    }

    pub fn begin(text: &[u8], config: &Config, events: &mut Events) {
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
            ($bytes:expr, $config:expr, $masks:expr, $first:expr, $end:expr) => {
                // SAFETY: this function runs where there is AVX-512 only.
                unsafe { look($bytes, $config, $masks, $first, $end) }
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

    /// The masks of words in a row, of which the first is at the beginning of `bytes`; a function of
    /// its own, so that tables stay in registers.
    #[inline(never)]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx2,bmi1,bmi2,popcnt,lzcnt")]
    unsafe fn look(bytes: &[u8], config: &Config, found: &mut Masks, first: usize, end: usize) {
        for word in first..end {
            let begin = (word - first) * WORD;
            // SAFETY: as for this function.
            found.put(word, unsafe { masks(&bytes[begin..begin + WORD + REACH - 1], config) });
        }
    }

    /// The masks of the first 64 of 66 bytes.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx2,bmi1,bmi2,popcnt,lzcnt")]
    unsafe fn masks(bytes: &[u8], config: &Config) -> Word {
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
            let digit = _mm512_cmplt_epu8_mask(digits, _mm512_set1_epi8(10));
            let small = _mm512_or_si512(here, _mm512_set1_epi8(0x20));
            let letters = _mm512_sub_epi8(small, _mm512_set1_epi8(b'a' as i8));
            let fits = _mm512_and_si512(fit!(here, 0), fit!(load!(1), 1));
            Word {
                dot,
                dash: equal(b'-'),
                digit,
                hex: digit | _mm512_cmplt_epu8_mask(letters, _mm512_set1_epi8(6)),
                colon: equal(b':'),
                anchor: equal(b'\n') | _mm512_test_epi8_mask(fits, fit!(load!(2), 2)),
            }
        }
    }
}
