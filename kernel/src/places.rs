//! The places at which the rules look, from the masks of a text.
//!
//! Which bytes come next cannot be guessed, so nothing here branches on it where a few instructions
//! more do without: a branch that is guessed wrongly costs as much as twenty of them.

use crate::bytes::{at, is_digit, is_label, skip};
use crate::config::Config;

pub const WORD: usize = 64;
/// So many words are looked at before their places are sorted.
const BATCH: usize = 64;
/// So many places of a word are written at once, whether they are there or not.
const AT_ONCE: usize = 5;

/// For each 64 bytes of a text, one bit a byte.
#[derive(Default)]
pub struct Masks {
    pub dot: Vec<u64>,
    pub dash: Vec<u64>,
    pub digit: Vec<u64>,
    /// Hexadecimal digits.
    pub hex: Vec<u64>,
    pub colon: Vec<u64>,
    /// Ends of lines, and what may begin anything else that a rule looks for; see `anchors.rs`.
    pub anchor: Vec<u64>,
}

impl Masks {
    fn rows(&mut self) -> [&mut Vec<u64>; 6] {
        let Masks { dot, dash, digit, hex, colon, anchor } = self;
        [dot, dash, digit, hex, colon, anchor]
    }

    /// Puts the masks of the word at a place.
    #[inline(always)]
    pub fn put(&mut self, place: usize, word: Word) {
        self.dot[place] = word.dot;
        self.dash[place] = word.dash;
        self.digit[place] = word.digit;
        self.hex[place] = word.hex;
        self.colon[place] = word.colon;
        self.anchor[place] = word.anchor;
    }
}

/// The masks of 64 bytes.
#[derive(Default)]
pub struct Word {
    pub dot: u64,
    pub dash: u64,
    pub digit: u64,
    pub hex: u64,
    pub colon: u64,
    pub anchor: u64,
}

/// Places in ascending order, in memory that is used again.
#[derive(Default)]
struct List {
    places: Vec<u32>,
    count: usize,
}

impl List {
    /// Makes room for so many more.
    #[inline(always)]
    fn reserve(&mut self, count: usize) {
        if self.places.len() < self.count + count {
            self.places.resize(2 * (self.count + count), 0);
        }
    }

    /// Adds a place, if it is one.
    #[inline(always)]
    fn put(&mut self, place: u32, is_one: bool) {
        self.places[self.count] = place;
        self.count += usize::from(is_one);
    }

    /// Adds the places of all bits, of which there are few.
    #[inline(always)]
    fn put_bits<const N: usize>(&mut self, begin: usize, mut bits: u64) {
        let count = bits.count_ones() as usize;
        for place in &mut self.places[self.count..self.count + N] {
            *place = begin as u32 + bits.trailing_zeros();
            bits &= bits.wrapping_sub(1);
        }
        let mut next = self.count + N;
        while bits != 0 {
            self.places[next] = begin as u32 + bits.trailing_zeros();
            bits &= bits - 1;
            next += 1;
        }
        self.count += count;
    }

    fn as_slice(&self) -> &[u32] {
        &self.places[..self.count]
    }
}

/// What a place may begin, from its first byte.
#[derive(Clone, Copy)]
enum Class {
    Newline,
    /// A colon before two slashes.
    Url,
    /// A colon or an equals sign behind what may be the end of a name.
    Separator,
    Slash,
    Bracket,
    At,
    /// The first letter of `basic` or `bearer`.
    Letter,
    /// A dash as in art32's own tokens.
    Own,
    /// A dot behind eight hexadecimal digits.
    HexDot,
    Nothing,
}

/// The class of a first byte, and whether the place is the one behind it.
static CLASSES: [(Class, bool); 256] = classes();

const fn classes() -> [(Class, bool); 256] {
    let mut table = [(Class::Nothing, false); 256];
    let mut index = 0;
    while index < 256 {
        table[index] = match index as u8 {
            b'\n' => (Class::Newline, false),
            b':' => (Class::Url, false),
            b'=' => (Class::Separator, false),
            b'n' | b'e' | b'y' | b'N' | b'E' | b'Y' | b'"' | b'\'' | b' ' => {
                (Class::Separator, true)
            }
            b'/' => (Class::Slash, false),
            b'[' => (Class::Bracket, false),
            b'@' => (Class::At, false),
            b'b' | b'B' => (Class::Letter, false),
            b'4' | b'6' | b'p' | b'l' | b'r' | b'h' | b'c' | b't' => (Class::Own, true),
            b'.' => (Class::HexDot, false),
            _ => (Class::Nothing, false),
        };
        index += 1;
    }
    table
}

/// The bytes that end the name of a header, or stand between it and a separator.
static ENDS_HEADER: [bool; 256] = ends_header();

const fn ends_header() -> [bool; 256] {
    let classes = classes();
    let mut table = [false; 256];
    let mut index = 0;
    while index < 256 {
        table[index] = matches!(classes[index], (Class::Separator, true));
        index += 1;
    }
    table
}

/// The places of a text at which the rules look, in ascending order, by what they may begin, and
/// its masks. What a place may begin is for the rule to say.
#[derive(Default)]
pub struct Events {
    /// Of each 64 bytes, with zeros behind the last.
    pub masks: Masks,
    classes: [List; Class::Nothing as usize + 1],
    anchors: List,
    dots: List,
    name_dots: List,
    dashes: List,
    colons: List,
    pairs: List,
}

macro_rules! lists {
    ($($(#[$meta:meta])* $name:ident: $class:ident)*) => {
        $($(#[$meta])*
        pub fn $name(&self) -> &[u32] {
            self.classes[Class::$class as usize].as_slice()
        })*
    };
}

impl Events {
    lists! {
        newlines: Newline
        /// A colon before two slashes, perhaps.
        urls: Url
        /// A colon or an equals sign behind what may be the end of a name.
        separators: Separator
        slashes: Slash
        brackets: Bracket
        ats: At
        /// The first letter of `basic` or `bearer`.
        letters: Letter
        /// A dash as in art32's own tokens, perhaps.
        owns: Own
        /// A dot that may stand behind eight hexadecimal digits.
        hex_dots: HexDot
    }

    /// The first of three dots, near to each other, as between four numbers.
    pub fn dots(&self) -> &[u32] {
        self.dots.as_slice()
    }

    /// Those of them behind whose digits and dots a letter or a dash follows.
    pub fn name_dots(&self) -> &[u32] {
        self.name_dots.as_slice()
    }

    /// The first of three dashes, near to each other.
    pub fn dashes(&self) -> &[u32] {
        self.dashes.as_slice()
    }

    /// A colon as in IPv6.
    pub fn colons(&self) -> &[u32] {
        self.colons.as_slice()
    }

    /// The first of five colons, three apart.
    pub fn pairs(&self) -> &[u32] {
        self.pairs.as_slice()
    }

    /// The bits of 64 bytes from a place on.
    #[inline(always)]
    pub fn bits(&self, mask: impl Fn(&Masks) -> &[u64], place: usize) -> u64 {
        let bit = place % WORD;
        let words = &mask(&self.masks)[place / WORD..][..2];
        words[0] >> bit | words[1] << 1 << (WORD - 1 - bit)
    }

    /// The bits of what addresses consist of, of 64 bytes from a place on.
    #[inline(always)]
    pub fn address_bits(&self, place: usize) -> u64 {
        let Masks { dot, hex, colon, .. } = &self.masks;
        let (word, bit) = (place / WORD, place % WORD);
        let any = |word: usize| dot[word] | hex[word] | colon[word];
        any(word) >> bit | any(word + 1) << 1 << (WORD - 1 - bit)
    }

    /// Forgets the last text and makes room for the masks of so many words.
    pub fn begin(&mut self, words: usize) {
        for row in self.masks.rows() {
            row.resize(words + 2, 0);
            row[words] = 0;
            row[words + 1] = 0;
        }
        for list in self.classes.iter_mut().chain([
            &mut self.dots, &mut self.name_dots, &mut self.dashes, &mut self.colons,
            &mut self.pairs,
        ]) {
            list.count = 0;
        }
    }

    /// Finds all places from the masks.
    #[inline(always)]
    pub fn find(&mut self, text: &[u8], config: &Config) {
        let words = self.masks.dot.len() - 2;
        let mut begin = 0;
        // where the digits and dots end that were looked at last, when they are many
        let mut run_end = 0;
        while begin < words {
            let end = (begin + BATCH).min(words);
            self.reserve();
            let count = end - begin;
            let Events { masks, anchors, dots, dashes, colons, pairs, .. } = self;
            let Masks { dot, dash, hex, colon, anchor, .. } = masks;
            let mut three_dots = [0; BATCH];
            let mut three_dashes = [0; BATCH];
            let mut groups = [0; BATCH];
            find_joints(&dot[begin..end + 1], &mut three_dots[..count]);
            find_joints(&dash[begin..end + 1], &mut three_dashes[..count]);
            find_groups(&colon[begin..end + 1], &mut groups[..count]);
            let first_dot = dots.count;
            for (word, &bits) in anchor[begin..end].iter().enumerate() {
                anchors.put_bits::<AT_ONCE>((begin + word) * WORD, bits);
            }
            let mut before = if begin > 0 { hex[begin - 1] } else { 0 };
            for word in 0..count {
                let place = (begin + word) * WORD;
                let here = hex[begin + word];
                let behind_hex = here << 1 | before >> 63;
                before = here;
                dots.put_bits::<1>(place, three_dots[word] & behind_hex);
                if three_dashes[word] & behind_hex != 0 {
                    dashes.put_bits::<1>(place, three_dashes[word] & behind_hex);
                }
                if groups[word] != 0 && are_many(colon[begin + word], colon[begin + word + 1]) {
                    colons.put_bits::<AT_ONCE>(place, groups[word]);
                    pairs.put_bits::<1>(place, find_pairs(colon[begin + word], colon[begin + word + 1]));
                }
            }
            self.sort_anchors(text);
            self.find_name_dots(text, first_dot, &mut run_end);
            begin = end;
        }
        self.keep_separators(text, config);
    }

    #[inline(always)]
    fn reserve(&mut self) {
        let Events { classes, anchors, dots, name_dots, dashes, colons, pairs, .. } = self;
        anchors.count = 0;
        let lists = [anchors, dots, name_dots, dashes, colons, pairs];
        for list in classes.iter_mut().chain(lists) {
            list.reserve(BATCH * WORD + AT_ONCE);
        }
    }

    #[inline(always)]
    fn sort_anchors(&mut self, text: &[u8]) {
        for &place in self.anchors.as_slice() {
            let (class, behind) = CLASSES[usize::from(text[place as usize])];
            self.classes[class as usize].put(place + u32::from(behind), true);
        }
    }

    #[inline(always)]
    fn find_name_dots(&mut self, text: &[u8], first: usize, run_end: &mut usize) {
        for index in first..self.dots.count {
            let dot = self.dots.places[index];
            let place = dot as usize;
            let digits = self.bits(|masks| &masks.digit, place);
            let numbers = digits | self.bits(|masks| &masks.dot, place);
            let mut end = place + (!numbers).trailing_zeros() as usize;
            if end == place + WORD {
                if end > *run_end {
                    *run_end = skip(text, end, |byte| is_digit(byte) || byte == b'.');
                }
                end = *run_end;
            }
            self.name_dots.put(dot, is_label(at(text, end)));
        }
    }

    /// Keeps the separators that are behind what may be the end of a name.
    #[inline(always)]
    fn keep_separators(&mut self, text: &[u8], config: &Config) {
        let List { places, count } = &mut self.classes[Class::Separator as usize];
        let mut kept = 0;
        for index in 0..*count {
            let place = places[index] as usize;
            let last = at(text, place.wrapping_sub(1));
            let ends_header = ENDS_HEADER[usize::from(last)];
            let before = at(text, place.wrapping_sub(2));
            let ends_name = (last == b']') | config.ends_parameter(before, last);
            let here = at(text, place);
            let is_one = (here == b'=') & (ends_header | ends_name) | (here == b':') & ends_header;
            places[kept] = place as u32;
            kept += usize::from(is_one);
        }
        *count = kept;
    }
}

/// Where `source` has a bit k places further on.
#[inline(always)]
fn ahead(now: u64, next: u64, k: u32) -> u64 {
    now >> k | next << (64 - k)
}

/// Three bits, two to four places apart from each other, in all words but the last.
#[inline(always)]
fn find_joints(words: &[u64], found: &mut [u64]) {
    let (now, next) = (&words[..found.len()], &words[1..][..found.len()]);
    let near = |n: u64, x: u64| ahead(n, x, 2) | ahead(n, x, 3) | ahead(n, x, 4);
    for ((found, &n), &x) in found.iter_mut().zip(now).zip(next) {
        // of the next word only the first places count, for which it is long enough
        *found = n & near(n & near(n, x), x & (x >> 2 | x >> 3 | x >> 4));
    }
}

/// Two colons in a row, or a colon with another 10 to 25 places on and a nearer one; in all words
/// but the last.
#[inline(always)]
fn find_groups(words: &[u64], found: &mut [u64]) {
    let (now, next) = (&words[..found.len()], &words[1..][..found.len()]);
    for ((found, &n), &x) in found.iter_mut().zip(now).zip(next) {
        let two = n | ahead(n, x, 1);
        let two_next = x | x >> 1;
        let four = two | ahead(two, two_next, 2);
        let four_next = two_next | two_next >> 2;
        let eight = four | ahead(four, four_next, 4);
        let eight_next = four_next | four_next >> 4;
        let sixteen = eight | ahead(eight, eight_next, 8);
        let sixteen_next = eight_next | eight_next >> 8;
        let far = ahead(sixteen, sixteen_next, 10);
        let close = ahead(eight, eight_next, 2);
        *found = n & (far & close | ahead(n, x, 1));
    }
}

/// Five bits, three places apart from each other.
#[inline(always)]
fn find_pairs(now: u64, next: u64) -> u64 {
    let three = now & ahead(now, next, 3) & ahead(now, next, 6);
    three & ahead(now, next, 9) & ahead(now, next, 12)
}

/// Whether there are enough colons for an address: two in a row, or five, for eight groups have
/// seven and six pairs five.
#[inline(always)]
fn are_many(now: u64, next: u64) -> bool {
    now & ahead(now, next, 1) != 0 || now.count_ones() + next.count_ones() > 4
}
