//! Takes apart the usual line of an access log, for the scan: whom it accuses, when, and of what.
//!
//! It reads what `agent/logs/scan/formats.py` reads in two parts (`_HEAD` and `_REST`), and the same;
//! a line that it does not read is left to that file.

use crate::blake2s;
use crate::bytes::*;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The bytes of a record before the triggers; see `Request::write`.
pub const HEAD: usize = 48;
const LONGEST_LINE: usize = 64 << 10;
const MOST_ADDRESS: usize = 45;
const MOST_ZONE: usize = 16;
const MOST_IDENT: usize = 255;
const MOST_USER: usize = 512;
const TIME: usize = 26;
/// ` [24/Nov/2026:06:03:09 +0100] `
const DATED: usize = TIME + 4;
const NO_TIME: i64 = i64::MIN;

/// A line that was read; places count from its beginning.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    key: [u8; 8],
    key_length: u8,
    status: u16,
    seconds: i64,
    target: u64,
    user: (usize, usize),
    rest: usize,
}

/// Writes a record for each line that holds a hit: where it stands, what was read in it, and one bit
/// for each trigger that it holds. Returns how many there are.
///
/// A hit is the place of its last byte times 65,536 plus its trigger; hits are in ascending order.
/// None when they are not, or when `out` has no room.
pub fn write(block: &[u8], hits: &[u64], mask: usize, out: &mut [u8]) -> Option<usize> {
    let mut records = out.chunks_exact_mut(HEAD + mask);
    let mut count = 0;
    let mut begin = 0;
    while begin < hits.len() {
        let place = place_of(hits[begin]);
        if place >= block.len() {
            return None;
        }
        let start = rfind(&block[..place], b'\n').map_or(0, |newline| newline + 1);
        let stop = place + find_byte(&block[place..], b'\n');
        let record = records.next()?;
        let (head, triggers) = record.split_at_mut(HEAD);
        triggers.iter_mut().for_each(|byte| *byte = 0);
        let mut end = begin;
        while end < hits.len() && place_of(hits[end]) < stop.max(place + 1) {
            if place_of(hits[end]) < start {
                return None;
            }
            let trigger = (hits[end] & 0xffff) as usize;
            *triggers.get_mut(trigger / 8)? |= 1 << (trigger % 8);
            end += 1;
        }
        let line = &block[start..stop];
        let read = if line.len() > LONGEST_LINE { None } else { read(line) };
        put(head, start, stop, read.as_ref());
        count += 1;
        begin = end;
    }
    Some(count)
}

fn place_of(hit: u64) -> usize {
    (hit >> 16) as usize
}

/// Little-endian: where the line begins and ends, whether it was read, length of the key, status,
/// seconds, key, number of the target, where the user begins and ends and where the request begins.
fn put(head: &mut [u8], start: usize, stop: usize, read: Option<&Request>) {
    head.iter_mut().for_each(|byte| *byte = 0);
    head[0..4].copy_from_slice(&(start as u32).to_le_bytes());
    head[4..8].copy_from_slice(&(stop as u32).to_le_bytes());
    if let Some(read) = read {
        head[8] = 1;
        head[9] = read.key_length;
        head[10..12].copy_from_slice(&read.status.to_le_bytes());
        head[12..20].copy_from_slice(&read.seconds.to_le_bytes());
        head[20..28].copy_from_slice(&read.key);
        head[28..36].copy_from_slice(&read.target.to_le_bytes());
        for (place, field) in [read.user.0, read.user.1, read.rest].iter().zip([36, 40, 44]) {
            head[field..field + 4].copy_from_slice(&((start + place) as u32).to_le_bytes());
        }
    }
}

/// None when the line is not read here; then it may be in another form, or in none.
fn read(line: &[u8]) -> Option<Request> {
    let quote = find_byte(line, b'"');
    if quote < DATED || line.last() == Some(&b'\r') {
        return None;
    }
    let (head, rest) = line.split_at(quote);
    let (named, dated) = head.split_at(quote - DATED);
    let seconds = seconds(dated.strip_prefix(b" [")?.strip_suffix(b"] ")?)?;

    let end = skip(named, 0, |byte| is_hex(byte) || byte == b':' || byte == b'.');
    if !(2..=MOST_ADDRESS).contains(&end) {
        return None;
    }
    let mut ident = end;
    if at(named, end) == b'%' {
        let is_zone =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
        ident = skip(named, end + 1, is_zone);
        if !(1..=MOST_ZONE).contains(&(ident - end - 1)) {
            return None;
        }
    }
    if at(named, ident) != b' ' {
        return None;
    }
    ident += 1;
    let blank = skip(named, ident, |byte| byte != b' ');
    if !(1..=MOST_IDENT).contains(&(blank - ident)) || blank == named.len() {
        return None;
    }
    let user = (blank + 1, named.len());
    if !(1..=MOST_USER).contains(&(user.1 - user.0)) {
        return None;
    }

    let end = quoted(rest)?;
    let status = status(rest, end)?;
    let (key, key_length) = key(&named[..skip(named, 0, |byte| byte != b'%' && byte != b' ')]);
    let target = path(target(&rest[1..end - 1]));
    let target = blake2s::number(target);
    Some(Request { key, key_length, status, seconds, target, user, rest: quote })
}

/// Where a quoted text ends that a text begins with.
fn quoted(text: &[u8]) -> Option<usize> {
    if text.first() != Some(&b'"') {
        return None;
    }
    let mut place = 1;
    loop {
        match text.get(place)? {
            b'"' => return Some(place + 1),
            b'\\' => place += 2,
            _ => place += 1,
        }
    }
}

/// The status behind the request; none when what follows is not as it must be.
fn status(rest: &[u8], end: usize) -> Option<u16> {
    let fields = rest[end..].strip_prefix(b" ")?;
    let digits = fields.get(..3)?;
    if !digits.iter().all(u8::is_ascii_digit) || digits[0] == b'0' {
        return None;
    }
    let fields = fields[3..].strip_prefix(b" ")?;
    let size = if fields.first() == Some(&b'-') { 1 } else { skip(fields, 0, is_digit) };
    let fields = &fields[size..];
    if size == 0 {
        return None;
    }
    if !fields.is_empty() {
        let referer = fields.strip_prefix(b" ")?;
        let agent = referer[quoted(referer)?..].strip_prefix(b" ")?;
        let others = &agent[quoted(agent)?..];
        if !matches!(others.first(), None | Some(&b' ')) {
            return None;
        }
    }
    Some(decimal(digits) as u16)
}

/// What is asked for: what stands between method and version, or all that is no request line.
fn target(request: &[u8]) -> &[u8] {
    let method = find_byte(request, b' ');
    if method > 20 || method + 1 >= request.len() {
        return request;
    }
    let rest = &request[method + 1..];
    match rfind(rest, b' ') {
        Some(blank) if rest[blank + 1..].starts_with(b"HTTP/") => &rest[..blank],
        _ => rest,
    }
}

fn path(target: &[u8]) -> &[u8] {
    &target[..find_byte(target, b'?')]
}

/// What is counted of an address: four bytes of IPv4, the first eight of IPv6; none of what is none.
fn key(text: &[u8]) -> ([u8; 8], u8) {
    let mut key = [0; 8];
    let text = std::str::from_utf8(text).unwrap_or("");
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        key[..4].copy_from_slice(&address.octets());
        return (key, 4);
    }
    let octets = match text.parse::<Ipv6Addr>() {
        Ok(address) => address.octets(),
        Err(_) => return (key, 0),
    };
    if octets[..10] == [0; 10] && octets[10..12] == [0xff; 2] {
        key[..4].copy_from_slice(&octets[12..]);
        return (key, 4);
    }
    key.copy_from_slice(&octets[..8]);
    (key, 8)
}

/// `24/Nov/2026:06:03:09 +0100` as seconds since the epoch, NO_TIME when there is no such time; none
/// when it is not in this form.
fn seconds(text: &[u8]) -> Option<i64> {
    const FORM: &[u8; TIME] = b"00/Aaa/0000:00:00:00 +0000";
    if text.len() != TIME {
        return None;
    }
    let fits = text.iter().zip(FORM).all(|(&byte, &form)| match form {
        b'0' => is_digit(byte),
        b'A' => byte.is_ascii_uppercase(),
        b'a' => byte.is_ascii_lowercase(),
        b'+' => byte == b'+' || byte == b'-',
        _ => byte == form,
    });
    if !fits {
        return None;
    }
    let number = |from: usize, to: usize| decimal(&text[from..to]) as i64;
    let (day, year) = (number(0, 2), number(7, 11));
    let (hour, minute) = (number(12, 14), number(15, 17));
    let month = match month(&text[3..6]) {
        Some(month) if year > 0 && hour < 24 && minute < 60 => month,
        _ => return Some(NO_TIME),
    };
    if day == 0 || day > days_of(month, year) {
        return Some(NO_TIME);
    }
    let zone = number(22, 24) * 3600 + number(24, 26) * 60;
    let zone = if text[21] == b'-' { -zone } else { zone };
    let moment = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 - zone;
    Some(moment + number(18, 20))
}

fn month(name: &[u8]) -> Option<i64> {
    const NAMES: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
    NAMES.chunks_exact(3).position(|each| each == name).map(|index| index as i64 + 1)
}

fn days_of(month: i64, year: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since the epoch (the Gregorian calendar, years from March on).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month < 3);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year / 4 - year / 100 + year / 400 + of_year - 719_468
}
