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

/// Decodes a line; `source[i]` becomes the place of byte i, with the end as last. Whether there
/// was an escape at all.
pub fn decode(line: &[u8], data: &mut Vec<u8>, source: &mut Vec<u32>) -> bool {
    data.clear();
    source.clear();
    let mut copied = 0;
    let mut place = 0;
    let mut any = false;
    while place < line.len() {
        let byte = line[place];
        if byte == b'%' || byte == b'\\' || byte == b'#' {
            if let Some((length, meaning)) = escape(line, place) {
                data.extend_from_slice(&line[copied..place]);
                source.extend(copied as u32..=place as u32);
                data.push(if meaning == b'\n' { b' ' } else { meaning });
                place += length;
                copied = place;
                any = true;
                continue;
            }
        }
        place += 1;
    }
    data.extend_from_slice(&line[copied..]);
    source.extend(copied as u32..=line.len() as u32);
    any
}

/// A decoded line, or a line as it is.
#[derive(Clone, Copy)]
pub struct Text<'a> {
    pub data: &'a [u8],
    pub source: Option<&'a [u32]>,
}

impl Text<'_> {
    #[inline(always)]
    pub fn is_raw(&self, index: usize) -> bool {
        match self.source {
            None => true,
            Some(source) => source[index + 1] - source[index] == 1,
        }
    }

    #[inline(always)]
    pub fn place(&self, index: usize) -> usize {
        match self.source {
            None => index,
            Some(source) => source[index] as usize,
        }
    }
}
