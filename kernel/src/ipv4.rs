//! IPv4: four numbers with dots, and what is meant to be one.

use crate::bytes::*;
use crate::config::Config;
use crate::fields::Line;
use crate::span::*;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Address,
    Malformed,
    Nothing,
}

/// The numbers with separators of which a separator is part: begin, end, how many numbers.
pub fn chain_around(
    data: &[u8],
    low: usize,
    place: usize,
    separator: u8,
) -> Option<(usize, usize, usize)> {
    let mut start = low + skip_back(&data[low..place], place - low, is_digit);
    if start == place {
        return None;
    }
    while start > low + 1 && data[start - 1] == separator && is_digit(data[start - 2]) {
        start = low + skip_back(&data[low..start - 1], start - 1 - low, is_digit);
    }
    let (end, count) = chain_from(data, start, separator);
    (end > place).then(|| (start, end, count))
}

/// The numbers with separators that begin at a digit: end, how many numbers.
pub fn chain_from(data: &[u8], start: usize, separator: u8) -> (usize, usize) {
    let mut end = skip(data, start, is_digit);
    let mut count = 1;
    while at(data, end) == separator && end + 1 < data.len() && is_digit(data[end + 1]) {
        end = skip(data, end + 1, is_digit);
        count += 1;
    }
    (end, count)
}

pub fn is_octet(part: &[u8]) -> bool {
    part.len() <= 3 && decimal(part) <= 255
}

/// What a chain is: verdict, address, and where its first four numbers end.
pub fn judge(chain: &[u8], count: usize, config: &Config) -> (Verdict, u32, usize) {
    let nothing = (Verdict::Nothing, 0, chain.len());
    if count != 4 && count != 5 {
        return nothing;
    }
    let mut parts: [&[u8]; 5] = [b""; 5];
    for (slot, part) in parts.iter_mut().zip(chain.split(|&byte| byte == b'.')) {
        *slot = part;
    }
    let mut end = chain.len();
    if count == 5 {
        let port = parts[4];
        if !parts[..4].iter().all(|part| is_octet(part)) || port.len() > 5 || decimal(port) > 0xffff
        {
            return nothing;
        }
        let is_oid = config.oid_roots.iter().any(|root| {
            root.iter().zip(&parts).all(|(&number, part)| u64::from(number) == decimal(part))
        });
        if is_oid {
            return nothing;
        }
        end -= port.len() + 1;
    } else if !is_octet(parts[1]) || !is_octet(parts[2]) {
        return nothing;
    }
    if is_octet(parts[0]) && is_octet(parts[3]) {
        let address = parts[..4].iter().fold(0u32, |sum, part| sum << 8 | decimal(part) as u32);
        return (Verdict::Address, address, end);
    }
    let glued = |part: &[u8]| is_octet(part) || part.len() > 3;
    if glued(parts[0]) && glued(parts[3]) {
        return (Verdict::Malformed, 0, end);
    }
    nothing
}

/// Whether what begins at a place is the version of a listed product.
pub fn follows_product(data: &[u8], low: usize, start: usize, config: &Config) -> bool {
    if start == low || data[start - 1] != b'/' {
        return false;
    }
    let text = &data[low..start - 1];
    config.products.iter().any(|name| {
        text.ends_with(name)
            && match text.len() - name.len() {
                0 => true,
                begin => matches!(text[begin - 1], b' ' | b'"' | b'(' | b';' | b'+' | b',' | b'\n'),
            }
    })
}

/// The span of a chain that has been judged.
pub fn span_of(
    data: &[u8],
    low: usize,
    start: usize,
    judged: (Verdict, u32, usize),
    config: &Config,
) -> Option<Span> {
    let (verdict, address, length) = judged;
    if verdict == Verdict::Nothing {
        return None;
    }
    let end = start + length;
    let is_malformed = verdict == Verdict::Malformed;
    let is_exempt = !is_malformed & config.is_exempt4(address);
    let (kind, form) = if is_exempt || follows_product(data, low, start, config) {
        (Kind::Exempt, Form::Stays)
    } else if is_malformed {
        (Kind::Malformed, Form::MalformedQuad)
    } else {
        (Kind::Ipv4, Form::Quad)
    };
    Some(Span::address(start, end, kind, form, u128::from(address)))
}

/// So many bytes before a first dot are looked at, and so many from there on.
const BEFORE: usize = 5;
const AROUND: usize = 20;

/// The usual address at once, from its first dot: begin, end, value, and how many bytes are kept, of
/// four octets to which neither a digit nor a dot and a digit is joined. All lengths come from the
/// masks, so that there is one branch; what it does not take may be an address all the same.
#[inline(always)]
fn plain(
    line: &Line,
    (low, high): (usize, usize),
    dot: usize,
) -> Option<(usize, usize, u32, u8)> {
    let begin = dot.checked_sub(BEFORE)?;
    let digits = line.events.bits(|masks| &masks.digit, begin);
    let dots = line.events.bits(|masks| &masks.dot, begin);
    // where the octets end: at the first dot, and then where dots or digits do
    let one = BEFORE as u32;
    let first = (!digits << (64 - one)).leading_zeros();
    let behind = dots >> (one + 1);
    let second = behind.trailing_zeros();
    let third = behind.wrapping_shr(second + 1).trailing_zeros();
    let two = one + 1 + second;
    let three = two + 1 + third;
    let fourth = (!digits.wrapping_shr(three + 1)).trailing_zeros();
    let four = three + 1 + fourth;
    let start = one.wrapping_sub(first);
    let is_length = |length: u32| length.wrapping_sub(1) < 3;
    let fit = is_length(first) & is_length(second) & is_length(third) & is_length(fourth);
    let row = (!(digits | dots).wrapping_shr(start)).trailing_zeros();
    let joined = dots.wrapping_shr(start.wrapping_sub(1)) & 1
        | dots.wrapping_shr(four) & digits.wrapping_shr(four + 1) & 1;
    if !fit | (row < four.wrapping_sub(start)) | (joined != 0) {
        return None;
    }
    let bytes: &[u8; AROUND] = line.text.data.get(begin..begin + AROUND)?.try_into().ok()?;
    let digits = |end: u32, length: u32| {
        let four = &bytes[(end as usize - 4) & 15..][..4];
        let four = u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
        u64::from(four & 0x0f0f_0f0f & u32::MAX << (32 - 8 * length))
    };
    let front = numbers(digits(one, first) | digits(two, second) << 32);
    let back = numbers(digits(three, third) | digits(four, fourth) << 32);
    let octets = [front as u32, (front >> 32) as u32, back as u32, (back >> 32) as u32];
    let address = octets.iter().fold(0, |sum, octet| sum << 8 | octet);
    // no zero before another digit
    let is_short = |index: usize, length: u32| octets[index] >= [0, 0, 10, 100][length as usize & 3];
    let is_kept = is_short(0, first) & is_short(1, second) & is_short(2, third);
    let kept_end = match line.config.kept_octets {
        3 => three + 1,
        2 => two + 1,
        1 => one + 1,
        _ => start,
    };
    let kept = if is_kept { kept_end - start } else { 0 };
    let fit = octets.iter().all(|&octet| octet < 256);
    let (start, end) = (begin + start as usize, begin + four as usize);
    (fit & (start >= low) & (end <= high)).then(|| (start, end, address, kept as u8))
}

/// The two numbers that two rows of four decimal digits make, as 32 bits each.
#[inline(always)]
fn numbers(digits: u64) -> u64 {
    let pairs = (10 * digits + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    (100 * pairs + (pairs >> 16)) & 0x0000_ffff_0000_ffff
}

/// The last rule, which finds the most: it puts the walls with what it finds into `out`, in order.
pub fn find(line: &Line, walls: &[Span], out: &mut Vec<Span>) {
    let text = line.text.data;
    let mut gaps = Gaps::new(walls, text.len());
    let mut skipped = 0;
    let mut copied = 0;
    for place in line.dots() {
        if place < skipped {
            continue;
        }
        let (low, high) = match gaps.at(place) {
            Some(gap) => gap,
            None => continue,
        };
        while copied < gaps.passed() {
            out.push(walls[copied]);
            copied += 1;
        }
        let data = &text[..high];
        if let Some((start, end, address, kept)) = plain(line, (low, high), place) {
            skipped = end;
            let judged = (Verdict::Address, address, end - start);
            let mut span = span_of(data, low, start, judged, line.config);
            span.iter_mut().for_each(|span| span.kept = kept);
            out.extend(span);
        } else if let Some((start, end, count)) = chain_around(data, low, place, b'.') {
            skipped = end;
            let judged = judge(&data[start..end], count, line.config);
            out.extend(span_of(data, low, start, judged, line.config));
        }
    }
    out.extend_from_slice(&walls[copied..]);
}
