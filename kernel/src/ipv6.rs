//! IPv6 in every spelling, with port, zone or dotted tail.

use crate::bytes::*;
use crate::fields::Line;
use crate::replace::SIX_TO_FOUR;
use crate::ipv4::{chain_from, judge, Verdict};
use crate::span::*;

const LONGEST_GROUP: usize = 8;
const MAPPED: u128 = 0xffff << 32;

fn is_run(byte: u8) -> bool {
    is_hex(byte) || byte == b':'
}

pub fn find(line: &Line, walls: &[Span], out: &mut Vec<Span>) {
    let text = line.text.data;
    let mut gaps = Gaps::new(walls, text.len());
    let mut floor = 0;
    let mut skipped = 0;
    for place in line.colons() {
        if place < skipped {
            continue;
        }
        let (low, high) = match gaps.at(place) {
            Some(gap) => gap,
            None => continue,
        };
        let data = &text[..high];
        let gap = (low.max(floor), high);
        if let Some(span) = eight(line, gap, place).or_else(|| plain(data, gap.0, place)) {
            floor = span.end as usize;
            skipped = floor;
            out.push(exempted(span, line));
            continue;
        }
        let mut start = low + skip_back(&data[low..place], place - low, is_run);
        let end = skip(data, place, is_run);
        skipped = end;
        let low = low.max(floor);
        let mut attached = false;
        if start <= low {
            start = low;
        } else {
            let before = data[start - 1];
            attached = is_word(before)
                || (before == b'.' && start >= low + 2 && is_digit(data[start - 2]));
        }
        while start < end {
            match first(data, start, end, attached, line) {
                None => break,
                Some(span) => {
                    start = span.end as usize;
                    floor = start;
                    attached = false;
                    out.push(span);
                }
            }
        }
    }
}

/// By byte: a hexadecimal digit's value, 16 for a colon, 32 for what else joins to an address, 64.
static NIBBLES: [u8; 256] = nibbles();

const fn nibbles() -> [u8; 256] {
    let mut table = [64; 256];
    let mut index = 0;
    while index < 256 {
        let byte = index as u8;
        table[index] = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b':' => 16,
            b'g'..=b'z' | b'G'..=b'Z' | b'_' | b'.' | b'%' => 32,
            _ => 64,
        };
        index += 1;
    }
    table
}

/// So many bytes before a first colon are looked at, and so many from four before it on.
const BEFORE: usize = 5;
const AROUND: usize = 68;

/// The most usual address at once, from its first colon: eight groups that are a whole run, to which
/// nothing is joined. What it does not take may be an address all the same.
#[inline(always)]
fn eight(line: &Line, (low, high): (usize, usize), colon: usize) -> Option<Span> {
    let text = line.text.data;
    let begin = colon.checked_sub(BEFORE)?;
    let hex = line.events.bits(|masks| &masks.hex, begin);
    let colons = line.events.bits(|masks| &masks.colon, begin);
    let first = (!hex << (64 - BEFORE) | 1 << (63 - BEFORE)).leading_zeros() as usize;
    let skipped = BEFORE - first;
    let start = begin + skipped;
    let length = (!((hex | colons) >> skipped)).trailing_zeros() as usize;
    let end = start + length;
    if first > 4 || length > 39 || start <= low || end >= high {
        return None;
    }
    let is_joined = |place: usize| NIBBLES[usize::from(text[place])] < 64;
    if is_joined(start - 1) | is_joined(end) {
        return None;
    }
    let around: &[u8; AROUND] = text.get(colon - 4..colon - 4 + AROUND)?.try_into().ok()?;
    // the places where groups end
    let mut ends = (colons >> skipped | 1 << length) & (2 << length) - 1;
    let mut fit = true;
    let mut halves = [0u64; 2];
    let mut group_begin = 0;
    let mut kept = 0;
    let mut is_kept = true;
    for index in 0..8 {
        let end = ends.trailing_zeros() as usize;
        ends &= ends.wrapping_sub(1);
        let length = end.wrapping_sub(group_begin);
        fit &= length.wrapping_sub(1) < 4;
        let bytes = &around[end.wrapping_sub(first) & 63..][..4];
        let digits = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
            & u32::MAX.wrapping_shl(32u32.wrapping_sub(8 * (length as u32 & 7)));
        let group = hex_number(digits);
        let half = &mut halves[index / 4];
        *half = *half << 16 | u64::from(group);
        group_begin = end + 1;
        if index < line.config.kept_groups {
            let large = digits & !(digits << 1) & 0x4040_4040;
            // in small letters, no zero before another digit, and no zero at last
            is_kept &= (group >= [0, 0, 0x10, 0x100, 0x1000][length.min(4)]) & (large == 0);
            is_kept &= group != 0 || index + 1 < line.config.kept_groups;
            kept = group_begin;
        }
    }
    let address = u128::from(halves[0]) << 64 | u128::from(halves[1]);
    if !fit | (ends != 0) | (address == 0) {
        return None;
    }
    let mut span = address_span(start, end, address);
    if is_kept & (address >> 112 != SIX_TO_FOUR) {
        span.kept = kept as u8;
    }
    Some(span)
}

/// The number that four hexadecimal digits make, of which zero bytes are none.
#[inline(always)]
fn hex_number(digits: u32) -> u32 {
    let values = (digits & 0x0f0f_0f0f) + 9 * (digits >> 6 & 0x0101_0101);
    let values = values.swap_bytes();
    let pairs = (values | values >> 4) & 0x00ff_00ff;
    (pairs | pairs >> 8) & 0xffff
}

/// The usual address at once, from the first colon of its run: groups that are a whole run, to
/// which nothing is joined.
#[inline(always)]
fn plain(data: &[u8], low: usize, colon: usize) -> Option<Span> {
    let mut start = colon;
    while start > low && colon - start <= 4 && NIBBLES[usize::from(data[start - 1])] < 16 {
        start -= 1;
    }
    if start == colon || colon - start > 4 {
        return None;
    }
    if start > low && NIBBLES[usize::from(data[start - 1])] < 64 {
        return None;
    }
    let mut parts = [0u64; 2]; // before and behind `::`, four groups at most each
    let mut count = 0;
    let mut gap = None;
    let mut high = 0u64;
    let mut low_part = 0u64;
    let mut place = start;
    loop {
        let mut group = 0u64;
        let begin = place;
        while place < data.len() && NIBBLES[usize::from(data[place])] < 16 {
            group = group << 4 | u64::from(NIBBLES[usize::from(data[place])]);
            place += 1;
        }
        if place == begin {
            // a colon at the end, unless it is the second of `::`
            if gap != Some(count) {
                return None;
            }
        } else {
            if place - begin > 4 || count == 8 {
                return None;
            }
            high = high << 16 | low_part >> 48;
            low_part = low_part << 16 | group;
            count += 1;
        }
        let next = if place < data.len() { NIBBLES[usize::from(data[place])] } else { 64 };
        if next == 64 {
            break;
        }
        if next != 16 || place == begin {
            return None;
        }
        place += 1;
        if place < data.len() && data[place] == b':' {
            if gap.is_some() || count > 7 {
                return None;
            }
            gap = Some(count);
            parts = [high, low_part];
            high = 0;
            low_part = 0;
            place += 1;
        }
    }
    let address = u128::from(high) << 64 | u128::from(low_part);
    let address = match gap {
        None if count == 8 => address,
        Some(before) if count < 8 => {
            let head = u128::from(parts[0]) << 64 | u128::from(parts[1]);
            head << (16 * (8 - before)) | address
        }
        _ => return None,
    };
    (address != 0).then(|| address_span(start, place, address))
}

/// The address that a run begins with, if any.
fn first(data: &[u8], from: usize, end: usize, attached: bool, line: &Line) -> Option<Span> {
    let mut start = from;
    if attached {
        start = skip(&data[..end], start, is_hex);
        if start == end {
            return None;
        }
    }
    let colons = skip(&data[..end], start, |byte| byte == b':');
    let count = colons - start;
    if count == 1 || (count == 2 && attached) {
        start = colons;
    } else if count > 2 && attached {
        start += 1;
    }
    match tail(data, start, end, line) {
        Ok(span) => Some(exempted(span, line)),
        Err(body) => parse(data, start, body, end, line),
    }
}

/// Looks at a quad behind the run: the address that ends with it, or where the run ends then.
fn tail(data: &[u8], start: usize, end: usize, line: &Line) -> Result<Span, usize> {
    if at(data, end) != b'.' {
        return Err(end);
    }
    let digits = start + skip_back(&data[start..end], end - start, is_digit);
    if digits == end {
        return Err(end);
    }
    let (chain_end, count) = chain_from(data, digits, b'.');
    let (verdict, quad, length) = judge(&data[digits..chain_end], count, line.config);
    let colon = match rfind(&data[start..end], b':') {
        Some(index) if verdict != Verdict::Nothing => start + index,
        _ => return Err(end),
    };
    let body = colon + usize::from(colon > start && data[colon - 1] == b':');
    if digits > colon + 1 {
        return Err(body);
    }
    let last = digits + length;
    if verdict == Verdict::Address {
        if let Some(address) = whole(&data[start..digits], quad) {
            return Ok(address_span(start, last, address));
        }
    }
    if is_like(&data[start..body]) {
        return Ok(malformed(start, last));
    }
    Err(body)
}

fn malformed(start: usize, end: usize) -> Span {
    Span::address(start, end, Kind::Malformed, Form::MalformedGroups, 0)
}

#[inline(always)]
fn address_span(start: usize, end: usize, address: u128) -> Span {
    if address >> 32 == MAPPED >> 32 {
        return Span::address(start, end, Kind::Ipv4, Form::Mapped, address & 0xffff_ffff);
    }
    Span::address(start, end, Kind::Ipv6, Form::Groups, address)
}

#[inline(always)]
fn exempted(mut span: Span, line: &Line) -> Span {
    let exempt = match span.form {
        Form::Mapped => line.config.is_exempt4(span.number() as u32),
        Form::Groups => line.config.is_exempt6(span.number()),
        _ => false,
    };
    if exempt {
        span.kind = Kind::Exempt;
        span.form = Form::Stays;
    }
    span
}

/// Two colons, and `::` or eight groups of up to eight digits.
fn is_like(text: &[u8]) -> bool {
    let mut colons = 0;
    let mut groups = 0;
    let mut length = 0;
    let mut longest = 0;
    let mut double = false;
    for (index, &byte) in text.iter().enumerate() {
        if byte == b':' {
            colons += 1;
            double |= index > 0 && text[index - 1] == b':';
            length = 0;
        } else {
            groups += usize::from(length == 0);
            length += 1;
            longest = longest.max(length);
        }
    }
    colons > 1 && (double || (groups >= 8 && longest <= LONGEST_GROUP))
}

fn parse(data: &[u8], start: usize, body: usize, end: usize, line: &Line) -> Option<Span> {
    let text = &data[start..body];
    if body == end && !is_word(at(data, end)) {
        let (length, address) = longest(text);
        // the usual case at once: an address and nothing else
        if length == text.len() && address != 0 && at(data, end) != b'%' {
            return Some(exempted(address_span(start, end, address), line));
        }
    }
    if !is_like(text) {
        return None;
    }
    let double = text.windows(2).any(|two| two == b"::");
    if text.iter().all(|&byte| byte == b':') {
        return Some(Span::wall(start, body));
    }
    if !double {
        let groups = || text.split(|&byte| byte == b':').filter(|group| !group.is_empty());
        if groups().count() > 8 && groups().all(|group| group.len() == 2) {
            return None;
        }
    }
    if body == end
        && end < data.len()
        && is_word(data[end])
        && double
        && text.iter().filter(|&&byte| byte == b':').count() == 2
    {
        let last = rfind(text, b':').map_or(0, |index| index + 1);
        if last == text.len() || !is_digit(text[last]) {
            return None;
        }
    }
    let (length, address) = longest(text);
    if length > 0 {
        let mut stop = start + length;
        if address == 0 && &text[..length] == b"::" {
            return Some(Span::wall(start, stop));
        }
        if stop == end && may_have_zone(address) {
            while at(data, stop) == b'%' && stop + 1 < data.len() && is_label(data[stop + 1]) {
                stop = skip(data, stop + 1, is_label);
            }
        }
        return Some(exempted(address_span(start, stop, address), line));
    }
    if !text.iter().any(|&byte| is_digit(byte)) {
        return None;
    }
    Some(malformed(start, body))
}

/// Whether an address is link-local, so that what follows a `%` belongs to it.
#[inline(always)]
pub fn may_have_zone(address: u128) -> bool {
    address >> 118 == 0xfe80 >> 6
}

/// Length and value of the longest address that text begins with; length 0 unless nothing, a colon
/// or a port follows.
fn longest(text: &[u8]) -> (usize, u128) {
    let mut groups = [0u16; 8];
    let mut count = 0;
    let mut gap = None;
    let mut best = 0;
    let mut best_count = 0;
    let mut position = 0;
    while position < text.len() {
        let end = skip(text, position, is_hex);
        if end > position {
            if end - position > 4 {
                break;
            }
            count += 1;
            if count > 8 || (gap.is_some() && count > 7) {
                break;
            }
            groups[count - 1] =
                text[position..end].iter().fold(0, |sum, &d| sum << 4 | u16::from(hex_value(d)));
            position = end;
            if gap.is_some() || count == 8 {
                best = position;
                best_count = count;
            }
        }
        if text[position..].starts_with(b"::") {
            if gap.is_some() || count > 7 {
                break;
            }
            gap = Some(count);
            position += 2;
            if !is_hex(at(text, position)) {
                best = position;
                best_count = count;
                break;
            }
        } else if position < text.len() {
            position += 1;
            if !is_hex(at(text, position)) {
                break;
            }
        }
    }
    if best == 0 || !is_port(&text[best..]) {
        return (0, 0);
    }
    (best, value(&groups[..best_count], gap))
}

fn value(groups: &[u16], gap: Option<usize>) -> u128 {
    let gap = gap.unwrap_or(groups.len()).min(groups.len());
    let join = |part: &[u16]| part.iter().fold(0u128, |sum, &group| sum << 16 | u128::from(group));
    let head = join(&groups[..gap]);
    let head = if gap == 0 { 0 } else { head << (16 * (8 - gap)) };
    head | join(&groups[gap..])
}

/// The value of an address that consists of text, which ends with a colon, and a quad.
fn whole(text: &[u8], quad: u32) -> Option<u128> {
    let mut groups = [0u16; 8];
    let mut count = 0;
    let mut gap = None;
    let mut position = 0;
    while position < text.len() {
        let end = skip(text, position, is_hex);
        if end > position {
            if end - position > 4 || count == 6 {
                return None;
            }
            groups[count] =
                text[position..end].iter().fold(0, |sum, &d| sum << 4 | u16::from(hex_value(d)));
            count += 1;
        }
        if text[end..].starts_with(b"::") {
            if gap.is_some() {
                return None;
            }
            gap = Some(count);
            position = end + 2;
        } else if end > position && at(text, end) == b':' {
            position = end + 1;
        } else {
            return None;
        }
    }
    groups[count] = (quad >> 16) as u16;
    groups[count + 1] = quad as u16;
    count += 2;
    if (gap.is_none() && count == 8) || (gap.is_some() && count < 8) {
        return Some(value(&groups[..count], gap));
    }
    None
}

fn is_port(rest: &[u8]) -> bool {
    if rest.is_empty() || rest == b":" {
        return true;
    }
    if rest[0] != b':' {
        return false;
    }
    let number = rest[1..].strip_suffix(b":").unwrap_or(&rest[1..]);
    !number.is_empty()
        && number.len() <= 5
        && number.iter().all(|&byte| is_digit(byte))
        && decimal(number) <= 0xffff
}
