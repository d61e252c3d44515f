//! Eight patterns of three bytes, of which one fits wherever a rule about words could begin.
//!
//! Each pattern is a set for the first byte, one for the second and one for the third. A byte's
//! membership in all eight sets of a position is one byte of a table, so that three looks at tables
//! and two conjunctions test all patterns; with AVX2 for 32 places at once.

use crate::config::NAMES;

/// So many bytes a pattern looks at.
pub const REACH: usize = 3;
const HEADER_END: &[u8] = b"neyNEY\"' ";
const HEX: &[u8] = b"0123456789abcdef";

pub struct Anchors {
    /// For each position: by byte, the patterns that it fits.
    fits: [[u8; 256]; REACH],
    /// For each position the same as two tables: by the lower half of the byte, by the upper half.
    /// They take in more, for a byte fits when its halves do.
    pub tables: [[u8; 16]; 2 * REACH],
    /// For each position what of bytes from 128 on fits, all of it for each of them.
    pub high: [u8; REACH],
}

impl Anchors {
    /// `paths` and `suffixes` have at least three and two bytes each.
    pub fn new(paths: &[Vec<u8>], suffixes: &[Vec<u8>]) -> Self {
        let mut anchors = Anchors {
            fits: [[0; 256]; REACH],
            tables: [[0; 16]; 2 * REACH],
            high: [0; REACH],
        };
        let any: Vec<u8> = (0..=255).collect();
        let nth = |list: &[Vec<u8>], index: usize| -> Vec<u8> {
            list.iter()
                .filter_map(|text| text.get(index))
                .flat_map(|byte| [byte.to_ascii_lowercase(), byte.to_ascii_uppercase(), *byte])
                .collect()
        };
        let name_ends: Vec<u8> = NAMES.iter().map(|name| name[name.len() - 1]).collect();
        anchors.put(1, [b"@", &any, &any]);
        anchors.put(2, [b"=", &any, &any]);
        anchors.put(4, [b"bB", b"aAeE", b"sSaA"]); // basic, bearer
        anchors.put(8, [b":", b"/", b"/"]);
        anchors.put(8, [b"/", &nth(paths, 1), &nth(paths, 2)]);
        anchors.put(16, [b"[", b"0123456789", b"0123456789"]);
        anchors.put(32, [HEADER_END, b":", &any]);
        anchors.put(64, [&name_ends, b"-", &[HEX, b"r"].concat()]);
        anchors.put(128, [b".", &nth(suffixes, 0), &nth(suffixes, 1)]);
        anchors
    }

    fn put(&mut self, pattern: u8, sets: [&[u8]; REACH]) {
        for (position, set) in sets.iter().enumerate() {
            for &byte in *set {
                self.fits[position][usize::from(byte)] |= pattern;
                self.tables[2 * position][usize::from(byte & 15)] |= pattern;
                self.tables[2 * position + 1][usize::from(byte >> 4)] |= pattern;
                if byte >= 128 {
                    self.high[position] |= pattern;
                }
            }
        }
    }

    /// The patterns that the bytes below 128 fit at a position.
    #[inline(always)]
    pub fn low(&self, position: usize) -> &[u8] {
        &self.fits[position][..128]
    }

    #[inline(always)]
    pub fn fit(&self, bytes: &[u8]) -> bool {
        let fits = |position: usize| self.fits[position][usize::from(bytes[position])];
        fits(0) & fits(1) & fits(2) != 0
    }
}
