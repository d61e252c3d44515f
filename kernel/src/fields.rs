//! Rules for what stands in fields: credentials, parameters, path segments, users, authorities,
//! art32's own, e-mail addresses.

use crate::bytes::*;
use crate::config::*;
use crate::places::Events;
use crate::span::*;
use crate::text::Text;

/// A line, or a block of lines, with the places at which rules look.
pub struct Line<'a> {
    pub text: Text<'a>,
    /// Where lines end, when the text is several of them.
    pub newlines: &'a [u32],
    pub events: &'a Events,
    pub config: &'a Config,
}

macro_rules! places {
    ($($name:ident)*) => {
        impl<'a> Line<'a> {
            $(#[inline(always)]
            pub fn $name(&self) -> impl Iterator<Item = usize> + 'a {
                self.events.$name().iter().map(|&place| place as usize)
            })*
        }
    };
}

places! {
    dots name_dots hex_dots dashes owns colons pairs urls separators slashes brackets ats letters
}

const HEX_KEY: usize = 6;
const HEX_TOKEN: usize = 16;

fn is_small_hex(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

/// Where art32's own token or marker around a dash begins and ends.
fn own_at(text: &[u8], dash: usize) -> Option<(usize, usize)> {
    let name = NAMES.iter().find(|name| text[..dash].ends_with(name))?;
    let rest = &text[dash + 1..];
    if rest.starts_with(b"removed") {
        return Some((dash - name.len(), dash + 8));
    }
    let whole = HEX_KEY + 1 + HEX_TOKEN;
    let fits = rest.len() >= whole
        && rest[..HEX_KEY].iter().all(|&byte| is_small_hex(byte))
        && rest[HEX_KEY] == b'-'
        && rest[HEX_KEY + 1..whole].iter().all(|&byte| is_small_hex(byte));
    fits.then(|| (dash - name.len(), dash + 1 + whole))
}

/// All own tokens and markers of a text.
fn owns(text: &[u8], offset: usize, out: &mut Vec<Span>) -> bool {
    let mut floor = 0;
    let before = out.len();
    for dash in 0..text.len() {
        if text[dash] == b'-' && dash >= floor {
            if let Some((start, end)) = own_at(&text[floor..], dash - floor) {
                out.push(Span::wall(start + floor + offset, end + floor + offset));
                floor += end;
            }
        }
    }
    out.len() > before
}

fn is_own(text: &[u8]) -> bool {
    match text.iter().position(|&byte| byte == b'-') {
        Some(dash) => own_at(text, dash) == Some((0, text.len())),
        None => false,
    }
}

fn stays(value: &[u8]) -> bool {
    matches!(value, b"" | b"-" | b"\"\"" | b"\"-\"") || is_own(value)
}

fn put(text: &[u8], start: usize, end: usize, kind: Kind, out: &mut Vec<Span>) {
    if start >= end {
        return;
    }
    if stays(&text[start..end]) {
        out.push(Span::wall(start, end));
    } else {
        out.push(Span::opaque(start, end, kind, Form::Opaque));
    }
}

const HEADERS: [&[u8]; 7] = [
    b"authorization", b"cookie", b"api-key", b"auth-token", b"csrf-token", b"xsrf-token",
    b"session-token",
];

fn header_before(text: &[u8], separator: usize) -> Option<usize> {
    let mut end = separator;
    if end > 0 && text[end - 1] == b' ' {
        end -= 1;
    }
    if end > 0 && matches!(text[end - 1], b'"' | b'\'') {
        end -= 1;
    }
    let ending = (end.checked_sub(2).map_or(0, |index| text[index]), if end > 0 { text[end - 1] } else { 0 });
    let fits = matches!(
        (ending.0.to_ascii_lowercase(), ending.1.to_ascii_lowercase()),
        (b'o', b'n') | (b'i', b'e') | (b'e', b'y') | (b'e', b'n')
    );
    if !fits {
        return None;
    }
    HEADERS.iter().find_map(|name| {
        let start = end.checked_sub(name.len())?;
        let fits = text[start..end].eq_ignore_ascii_case(name)
            && (start == 0 || !text[start - 1].is_ascii_alphanumeric());
        fits.then(|| start)
    })
}

fn scheme_value(text: &[u8], start: usize) -> Option<(usize, usize)> {
    if start > 0 && text[start - 1].is_ascii_alphanumeric() {
        return None;
    }
    let name: &[u8] = if starts_with_any_case(text, start, b"basic") {
        b"basic"
    } else if starts_with_any_case(text, start, b"bearer") {
        b"bearer"
    } else {
        return None;
    };
    let blank = start + name.len();
    let begin = skip(text, blank, |byte| byte == b' ');
    let is_token68 =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'.' | b'_' | b'~' | b'-');
    let end = skip(text, begin, is_token68);
    if begin == blank || end - begin < 8 {
        return None;
    }
    Some((begin, skip(text, end, |byte| byte == b'=')))
}

fn is_coded(value: &[u8]) -> bool {
    value.iter().any(|&byte| is_digit(byte))
        || value.windows(2).any(|two| two[0].is_ascii_lowercase() && two[1].is_ascii_uppercase())
}

pub fn credentials(line: &Line, walls: &[Span], out: &mut Vec<Span>) {
    let text = line.text.data;
    let mut gaps = Gaps::new(walls, text.len());
    let mut position = 0;
    let mut separators = line.separators().peekable();
    let mut letters = line.letters().peekable();
    loop {
        let place = match (separators.peek(), letters.peek()) {
            (Some(&one), Some(&two)) if one < two => separators.next(),
            (_, Some(_)) => letters.next(),
            (_, None) => separators.next(),
        };
        let place = match place {
            Some(place) if place < position || gaps.at(place).is_none() => continue,
            Some(place) => place,
            None => return,
        };
        match text[place] {
            b':' | b'=' => {
                let fits = header_before(text, place).map_or(false, |start| start >= position);
                if !fits {
                    continue;
                }
                let mut start = skip(text, place + 1, |byte| byte == b' ');
                if matches!(at(text, start), b'"' | b'\'') {
                    start += 1;
                }
                let mut end = start;
                while end < text.len()
                    && text[end] != b'\n'
                    && !(matches!(text[end], b'"' | b'\r') && line.text.is_raw(end))
                {
                    end += 1;
                }
                put(text, start, end, Kind::Credential, out);
                position = end;
            }
            b'b' | b'B' => {
                if let Some((start, end)) = scheme_value(text, place) {
                    position = end;
                    let value = &text[start..end];
                    if !owns(value, start, out) && is_coded(value) {
                        put(text, start, end, Kind::Credential, out);
                    }
                }
            }
            _ => {}
        }
    }
}

fn is_listed(name: &[u8], parameters: &[Vec<u8>]) -> bool {
    let small = name.to_ascii_lowercase();
    parameters.binary_search(&small).is_ok()
}

fn parameter_value(text: &Text, start: usize, high: usize) -> (usize, usize) {
    let data = &text.data[..high];
    let closing = match at(data, start) {
        quote @ (b'"' | b'\'') if text.is_raw(start) => quote,
        b'<' if text.is_raw(start) => b'>',
        _ => 0,
    };
    let mut end = start;
    if closing != 0 {
        end += 1;
        while end < high
            && data[end] != b'\n'
            && !((data[end] == closing || data[end] == b'\r') && text.is_raw(end))
        {
            end += 1;
        }
        return (start + 1, end);
    }
    while end < high {
        let ends = match data[end] {
            b' ' | b'"' | b'&' | b';' | b'<' | b'>' | b')' | b']' | b'}' | b'|' | b'#' | b'\t'
            | b'\n' | b'\r' => true,
            b',' => end + 1 == high
                || data[end + 1] == b'\n'
                || (matches!(data[end + 1], b' ' | b'\r') && text.is_raw(end + 1)),
            _ => false,
        };
        if ends && text.is_raw(end) {
            break;
        }
        end += 1;
    }
    (start, end)
}

pub fn parameters(line: &Line, walls: &[Span], out: &mut Vec<Span>) {
    let text = line.text;
    let mut gaps = Gaps::new(walls, text.data.len());
    let mut position = 0;
    for place in line.separators() {
        if place < position {
            continue;
        }
        let separator = text.data[place];
        let (low, high) = match gaps.at(place) {
            Some(gap) => gap,
            None => continue,
        };
        let data = &text.data[..high];
        let mut end = place;
        let mut start = place + 1;
        if separator == b':' {
            if end == low || data[end - 1] != b'"' {
                continue;
            }
            end -= 1;
            if at(data, start) == b' ' {
                start += 1;
            }
            if at(data, start) != b'"' {
                continue;
            }
        } else if end > low && data[end - 1] == b']' {
            end -= 1;
        }
        let begin = low + skip_back(&data[low..end], end - low, is_label);
        if begin == end || end - begin > 64 || begin < position {
            continue;
        }
        let name = &data[begin..end];
        let before = if name.len() > 1 { name[name.len() - 2] } else { 0 };
        if !line.config.ends_parameter(before, name[name.len() - 1])
            || !is_listed(name, &line.config.parameters)
        {
            continue;
        }
        position = start;
        if separator == b':' && !text.is_raw(start) {
            continue;
        }
        let (start, end) = parameter_value(&text, start, high);
        put(text.data, start, end, Kind::Parameter, out);
        position = position.max(end);
    }
}

pub fn paths(line: &Line, walls: &[Span], out: &mut Vec<Span>) {
    let text = line.text;
    let mut gaps = Gaps::new(walls, text.data.len());
    let mut position = 0;
    for place in line.slashes() {
        if place < position {
            continue;
        }
        let high = match gaps.at(place) {
            Some((_, high)) => high,
            None => continue,
        };
        let data = &text.data[..high];
        let prefix_at = |place: usize| {
            let rest = &data[place..];
            let head = rest.get(..8).and_then(|head| head.try_into().ok());
            if head.map_or(false, |head| !line.config.may_begin_path(head)) {
                return None;
            }
            line.config.paths.iter().find(|path| rest.starts_with(path)).map(Vec::len)
        };
        let mut start = match prefix_at(place) {
            Some(length) => place + length,
            None => continue,
        };
        while let Some(length) = prefix_at(start - 1) {
            start += length - 1;
        }
        let mut end = start;
        while end < high {
            let ends = matches!(
                data[end],
                b' ' | b'"' | b'\'' | b'?' | b'&' | b'#' | b'/' | b';' | b'<' | b'>' | b')' | b'\t'
                    | b'\n' | b'\r'
            );
            if ends && text.is_raw(end) {
                break;
            }
            end += 1;
        }
        position = end;
        put(data, start, end, Kind::Path, out);
    }
}

/// `[24/Nov/2026:`
fn is_date(line: &Line, bracket: usize) -> bool {
    const DIGITS: u64 = 0b1111_0000_0110;
    let date: Option<&[u8; 13]> =
        line.text.data.get(bracket..bracket + 13).and_then(|date| date.try_into().ok());
    date.map_or(false, |date| {
        let digits = line.events.bits(|masks| &masks.digit, bracket);
        (digits & DIGITS == DIGITS)
            & (date[3] == b'/')
            & date[4..7].iter().fold(true, |all, byte| all & byte.is_ascii_alphabetic())
            & (date[7] == b'/')
            & (date[12] == b':')
    })
}

pub fn user(line: &Line, walls: &[Span], out: &mut Vec<Span>) {
    let text = line.text.data;
    let mut gaps = Gaps::new(walls, text.len());
    let mut newlines = line.newlines.iter().map(|&place| place as usize).peekable();
    let mut begin = 0;
    let mut done = usize::MAX;
    for place in line.brackets() {
        while let Some(&newline) = newlines.peek() {
            if newline > place {
                break;
            }
            begin = newline + 1;
            newlines.next();
        }
        // the first date of the line, before anything else that was found in it
        if begin == done || at(text, place.wrapping_sub(1)) != b' ' || !is_date(line, place) {
            continue;
        }
        let (low, high) = match gaps.at(place) {
            Some(gap) => gap,
            None => continue,
        };
        if low > begin || place + 13 > high {
            continue;
        }
        // the usual line at once: an address of at most 64 characters and nobody
        let length = place.wrapping_sub(begin + 5);
        if length < 64 && text[begin + length..place] == *b" - - " {
            let address = line.events.address_bits(begin);
            if length > 0 && (!address).trailing_zeros() as usize >= length {
                done = begin;
                continue;
            }
        }
        if let Some(start) = user_start(text, begin, place) {
            done = begin;
            put(text, start, place - 1, Kind::User, out);
        }
    }
}

/// Where the user before a bracket begins, in a line that has at least two fields before it.
#[inline(never)]
fn user_start(text: &[u8], begin: usize, bracket: usize) -> Option<usize> {
    let data = &text[begin..bracket - 1];
    let first = find_byte(data, b' ');
    let behind = data.get(first + 1..)?;
    let second = find_byte(behind, b' ');
    if first == 0 || second == behind.len() {
        return None;
    }
    let start = begin + first + second + 2;
    Some(if text[start..].starts_with(b"- ") { start + 2 } else { start })
}

fn number(authority: &[u8]) -> Option<(usize, Form, u32)> {
    if !authority.first().map_or(false, |&byte| is_digit(byte)) {
        return None;
    }
    let (end, form, value) = if starts_with_any_case(authority, 0, b"0x") {
        let end = skip(authority, 2, is_hex);
        if !(3..=10).contains(&end) {
            return None;
        }
        let value = authority[2..end].iter().fold(0u64, |sum, &d| sum << 4 | u64::from(hex_value(d)));
        (end, Form::Hexadecimal, value)
    } else {
        let end = skip(authority, 0, is_digit);
        if !(8..=10).contains(&end) {
            return None;
        }
        (end, Form::Decimal, decimal(&authority[..end]))
    };
    if end < authority.len() && authority[end] != b':' {
        return None;
    }
    let value = u32::try_from(value).ok()?;
    (value >= 1 << 24).then(|| (end, form, value))
}

pub fn authorities(line: &Line, walls: &[Span], out: &mut Vec<Span>) {
    let text = line.text.data;
    let mut gaps = Gaps::new(walls, text.len());
    let mut position = 0;
    for place in line.urls() {
        if place < position {
            continue;
        }
        let high = match gaps.at(place) {
            Some((_, high)) => high,
            None => continue,
        };
        let data = &text[..high];
        if !data[place..].starts_with(b"://") {
            continue;
        }
        let start = place + 3;
        let mut end = skip(data, start, |byte| !ends_authority(byte));
        let mut sign = None;
        while at(data, end) == b'@' {
            sign = Some(end);
            end = skip(data, end + 1, |byte| !ends_authority(byte));
        }
        position = end;
        if let Some(sign) = sign {
            if !line.config.leaves(LEAVE_CREDENTIAL) {
                put(data, start, sign, Kind::Credential, out);
            }
        }
        let host = sign.map_or(start, |sign| sign + 1);
        if let Some((length, form, value)) = number(&data[host..end]) {
            let exempt = line.config.is_exempt4(value);
            let (kind, form) = if exempt { (Kind::Exempt, Form::Stays) } else { (Kind::Ipv4, form) };
            out.push(Span::address(host, host + length, kind, form, u128::from(value)));
        }
    }
}

pub fn own(line: &Line, walls: &[Span], out: &mut Vec<Span>) {
    let text = line.text.data;
    let mut gaps = Gaps::new(walls, text.len());
    let mut floor = 0;
    for place in line.owns() {
        if place < floor {
            continue;
        }
        if let Some((low, high)) = gaps.at(place) {
            let low = low.max(floor);
            let found = own_at(&text[low..high], place - low).filter(|_| text[place] == b'-');
            if let Some((start, end)) = found {
                out.push(Span::wall(low + start, low + end));
                floor = low + end;
            }
        }
    }
}

/// Where a domain or an address literal that begins at a place ends.
fn domain(text: &[u8], start: usize, config: &Config) -> Option<usize> {
    if at(text, start) == b'[' {
        let mut begin = start + 1;
        if starts_with_any_case(text, begin, b"ipv6:") {
            begin += 5;
        }
        let end = skip(text, begin, |byte| is_hex(byte) || byte == b':' || byte == b'.');
        let fits = (2..=60).contains(&(end - begin)) && at(text, end) == b']';
        return fits.then(|| end + 1);
    }
    let is_part = |byte: u8| is_label(byte) || byte >= 0x80;
    let mut end = skip(text, start, is_part);
    if end == start {
        return None;
    }
    while at(text, end) == b'.' && end + 1 < text.len() && is_part(text[end + 1]) {
        end = skip(text, end + 1, is_part);
    }
    while let Some(dot) = rfind(&text[start..end], b'.') {
        let top = &text[start + dot + 1..end];
        let letters = top.len() > 1 && top.iter().all(|&b| b.is_ascii_alphabetic() || b >= 0x80);
        let puny = top.len() > 4
            && top[..4].eq_ignore_ascii_case(b"xn--")
            && top[4..].iter().all(|&b| b.is_ascii_alphanumeric() || b == b'-');
        if (letters || puny) && !config.is_file_type(top) {
            return Some(end);
        }
        end = start + dot;
    }
    None
}

pub fn emails(line: &Line, walls: &[Span], out: &mut Vec<Span>) {
    let text = line.text.data;
    let mut gaps = Gaps::new(walls, text.len());
    let mut floor = 0;
    for place in line.ats() {
        if place < floor {
            continue;
        }
        let (low, high) = match gaps.at(place) {
            Some(gap) => gap,
            None => continue,
        };
        let low = low.max(floor);
        let mut start = low + skip_back(&text[low..place], place - low, is_local);
        while start < place && matches!(text[start], b'\'' | b'.') {
            start += 1;
        }
        floor = place + 1;
        if start == place {
            continue;
        }
        let end = match domain(&text[..high], place + 1, line.config) {
            Some(end) => end,
            None => continue,
        };
        floor = end;
        if contains(&line.config.mailboxes, &text[start..place]) {
            out.push(Span::wall(start, end));
        } else {
            let mut span = Span::opaque(start, end, Kind::Email, Form::Opaque);
            if line.config.email_domain {
                span.end = place as u32;
                span.raw_end = place as u32;
            }
            out.push(span);
        }
    }
}
