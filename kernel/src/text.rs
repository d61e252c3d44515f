//! Undoes the escapes of a line, with the way back.

use crate::bytes::{at, hex_value, is_hex};

fn is_octal(byte: u8) -> bool {
    (b'0'..=b'7').contains(&byte)
}

/// The length of an escape at a place and its meaning; none when there is no escape.
fn escape(line: &[u8], place: usize) -> Option<(usize, u8)> {
    let first = at(line, place + 1);
    let second = at(line, place + 2);
    let pair = |high: u8, low: u8| hex_value(high) << 4 | hex_value(low);
    match line[place] {
        b'%' => {
            let mut next = place + 1;
            while at(line, next) == b'2'
                && at(line, next + 1) == b'5'
                && is_hex(at(line, next + 2))
                && is_hex(at(line, next + 3))
            {
                next += 2;
            }
            let (high, low) = (at(line, next), at(line, next + 1));
            (is_hex(high) && is_hex(low)).then(|| (next + 2 - place, pair(high, low)))
        }
        b'\\' => match first {
            b'x' if is_hex(second) && is_hex(at(line, place + 3)) => {
                Some((4, pair(second, line[place + 3])))
            }
            b'u' if second == b'0'
                && at(line, place + 3) == b'0'
                && is_hex(at(line, place + 4))
                && is_hex(at(line, place + 5)) =>
            {
                Some((6, pair(line[place + 4], line[place + 5])))
            }
            b'0'..=b'3' if is_octal(second) && is_octal(at(line, place + 3)) => Some((
                4,
                (first - b'0') << 6 | (second - b'0') << 3 | (line[place + 3] - b'0'),
            )),
            b'a' => Some((2, 7)),
            b'b' => Some((2, 8)),
            b'e' => Some((2, 27)),
            b'f' => Some((2, 12)),
            b'n' => Some((2, 10)),
            b'r' => Some((2, 13)),
            b't' => Some((2, 9)),
            b'v' => Some((2, 11)),
            b'"' | b'\'' | b'/' | b'\\' => Some((2, first)),
            _ => None,
        },
        b'#' => {
            if first == b'0' && (b'0'..=b'3').contains(&second) && is_octal(at(line, place + 3)) {
                return Some((4, (second - b'0') << 3 | (line[place + 3] - b'0')));
            }
            let is_upper_hex = |byte: u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte);
            let escaped = match first {
                b'0' | b'1' | b'8' | b'9' | b'A'..=b'F' => is_upper_hex(second),
                b'2' => second == b'2' || second == b'3',
                b'7' => matches!(second, b'B' | b'C' | b'D' | b'F'),
                _ => false,
            };
            escaped.then(|| (3, pair(first, second)))
        }
        _ => None,
    }
}

/// Where an escape stood: the place of the byte that it means, and how much further on in the block
/// stands what follows it.
#[derive(Clone, Copy)]
struct Escape {
    place: u32,
    shift: u32,
}

/// A block of lines with each escape as the one byte that it means, and the way back.
#[derive(Default)]
pub struct Decoded {
    data: Vec<u8>,
    escapes: Vec<Escape>,
    /// One bit for each byte of `data`: whether it was an escape.
    marks: Vec<u64>,
}

impl Decoded {
    /// Decodes a block of which `places` are those of all bytes that may begin an escape.
    ///
    /// A decoded newline is a blank: nothing spans lines.
    pub fn decode(&mut self, block: &[u8], places: &[u32]) {
        self.data.clear();
        self.escapes.clear();
        self.marks.clear();
        let mut copied = 0;
        for &place in places {
            let place = place as usize;
            if place < copied {
                continue;
            }
            if let Some((length, meaning)) = escape(block, place) {
                self.data.extend_from_slice(&block[copied..place]);
                copied = place + length;
                let place = self.data.len();
                let shift = (copied - place - 1) as u32;
                self.escapes.push(Escape { place: place as u32, shift });
                self.data.push(if meaning == b'\n' { b' ' } else { meaning });
            }
        }
        if self.escapes.is_empty() {
            return;
        }
        self.data.extend_from_slice(&block[copied..]);
        self.marks.resize(self.data.len() / 64 + 1, 0);
        for escape in &self.escapes {
            self.marks[escape.place as usize / 64] |= 1 << (escape.place % 64);
        }
    }

    /// The decoded block, or the block itself when there is no escape in it.
    pub fn text<'a>(&'a self, block: &'a [u8]) -> Text<'a> {
        if self.escapes.is_empty() {
            Text { data: block, marks: &[] }
        } else {
            Text { data: &self.data, marks: &self.marks }
        }
    }

    pub fn has_escapes(&self) -> bool {
        !self.escapes.is_empty()
    }

    /// Where a place of the decoded text is in the block.
    pub fn raw(&self, place: usize) -> usize {
        let before = self.escapes.partition_point(|escape| (escape.place as usize) < place);
        self.raw_after(before, place)
    }

    fn raw_after(&self, before: usize, place: usize) -> usize {
        place + before.checked_sub(1).map_or(0, |last| self.escapes[last].shift as usize)
    }

    /// All escapes: the place of the byte, and where in the block the escape begins and ends.
    pub fn escapes(&self) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        self.escapes.iter().enumerate().map(move |(index, escape)| {
            let place = escape.place as usize;
            (place, self.raw_after(index, place), place + 1 + escape.shift as usize)
        })
    }
}

/// Tells of places in ascending order where they are in the block.
pub struct Mapper<'a> {
    ahead: &'a [Escape],
    shift: u32,
}

impl<'a> Mapper<'a> {
    pub fn new(decoded: &'a Decoded) -> Self {
        Mapper { ahead: &decoded.escapes, shift: 0 }
    }

    #[inline(always)]
    pub fn raw(&mut self, place: u32) -> u32 {
        while let Some((escape, ahead)) = self.ahead.split_first() {
            if escape.place >= place {
                break;
            }
            self.shift = escape.shift;
            self.ahead = ahead;
        }
        place + self.shift
    }
}

/// Decoded text.
#[derive(Clone, Copy)]
pub struct Text<'a> {
    pub data: &'a [u8],
    marks: &'a [u64],
}

impl Text<'_> {
    /// Whether the byte stands in the line as it is.
    #[inline(always)]
    pub fn is_raw(&self, index: usize) -> bool {
        self.marks.get(index / 64).map_or(true, |marks| marks >> (index % 64) & 1 == 0)
    }
}
