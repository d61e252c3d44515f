//! One search over a block of lines: what goes, and which lines must be looked at again.

use crate::bytes::*;
use crate::config::*;
use crate::fields::{self, Line};
use crate::out::Out;
use crate::places::Events;
use crate::scan::{Escapes, Scan};
use crate::span::{Form, Kind, Span};
use crate::text::{Decoded, Mapper, Text};
use crate::{ipv4, ipv6, names};

/// What one search over a block of lines needs and finds.
#[derive(Default)]
pub struct Turn {
    pub decoded: Decoded,
    places: Vec<u32>,
    pub events: Events,
    new: Vec<Span>,
    pub spans: Vec<Span>,
    /// Lines to be looked at again, because something that goes is glued to something else.
    pub again: Vec<Again>,
    pub input: Out,
    pub output: Out,
}

/// Where a line begins and ends in the block, and whether it is another now.
#[derive(Clone, Copy)]
pub struct Again {
    pub begin: u32,
    pub end: u32,
    pub changed: bool,
}

type Rule = for<'a> fn(&Line<'a>, &[Span], &mut Vec<Span>);

/// The rules in the order of their precedence, with the kind that the configuration can leave; behind
/// them comes `ipv4::find`.
static ORDER: [(Rule, u8); 13] = [
    (fields::credentials, LEAVE_CREDENTIAL),
    (fields::parameters, LEAVE_PARAMETER),
    (fields::paths, LEAVE_PATH),
    (fields::user, LEAVE_USER),
    (fields::authorities, 0),
    (fields::own, 0),
    (fields::emails, LEAVE_EMAIL),
    (names::pointers, LEAVE_NAME),
    (names::dashed, LEAVE_NAME),
    (names::dotted, LEAVE_NAME),
    (names::hex_labels, LEAVE_NAME),
    (names::hardware, LEAVE_MAC),
    (ipv6::find, 0),
];

/// Adds to `spans`, which are in order, what the rules find between them.
fn apply(
    text: Text,
    events: &Events,
    config: &Config,
    spans: &mut Vec<Span>,
    new: &mut Vec<Span>,
) {
    let line = Line { text, newlines: events.newlines(), events, config };
    for (rule, kind) in &ORDER {
        if config.leaves(*kind) {
            continue;
        }
        new.clear();
        rule(&line, spans, new);
        if let Some(first) = new.first() {
            if spans.last().map_or(true, |last| last.start < first.start) {
                spans.append(new);
            } else {
                merge(spans, new);
            }
        }
    }
    new.clear();
    ipv4::find(&line, spans, new);
    std::mem::swap(spans, new);
}

/// Puts spans in order among others that are in order.
fn merge(spans: &mut Vec<Span>, new: &[Span]) {
    let mut old = spans.len();
    let mut added = new.len();
    spans.extend_from_slice(new);
    // from the end on, so that each moves once
    while added > 0 {
        let to = old + added - 1;
        if old > 0 && spans[old - 1].start > new[added - 1].start {
            spans[to] = spans[old - 1];
            old -= 1;
        } else {
            spans[to] = new[added - 1];
            added -= 1;
        }
    }
}

impl Turn {
    pub fn find(&mut self, block: &[u8], config: &Config, (scan, escapes): (Scan, Escapes)) {
        let Turn { decoded, places, events, new, spans, again, .. } = self;
        escapes(block, places);
        decoded.decode(block, places);
        let text = decoded.text(block);
        scan(text.data, config, events);
        spans.clear();
        apply(text, events, config, spans, new);
        if let Some(length) = config.cut_length {
            find_cut(text, decoded, events.newlines(), length, spans);
        }
        again.clear();
        let mut lines = Lines { ends: events.newlines(), next: 0, length: text.data.len() };
        let mut known = 0;
        let mut before = u32::MAX;
        for span in spans.iter() {
            let apart = is_apart(text.data, span, before)
                // an authority without its `@` may be a number
                && !(span.kind == Kind::Email && config.leaves(LEAVE_CREDENTIAL));
            if !apart && span.is_replaced() && span.start >= known {
                let line = lines.at(span.start);
                known = line.1;
                again.push(raw_line(line, decoded));
            }
            before = span.end;
        }
        if decoded.has_escapes() {
            let mut mapper = Mapper::new(decoded);
            for span in spans.iter_mut() {
                span.raw_start = mapper.raw(span.start);
                span.raw_end = mapper.raw(span.end);
            }
            find_literal(block, text.data, decoded, spans, config, new);
            if !new.is_empty() {
                let mut lines = Lines { ends: events.newlines(), next: 0, length: text.data.len() };
                again.extend(new.iter().map(|span| raw_line(lines.at(span.start), decoded)));
                again.sort_by_key(|line| line.begin);
                again.dedup_by_key(|line| line.begin);
                spans.append(new);
                spans.sort_by_key(|span| span.raw_start);
            }
        }
    }
}

/// Tells of places in ascending order in which lines they are.
struct Lines<'a> {
    ends: &'a [u32],
    next: usize,
    length: usize,
}

impl Lines<'_> {
    fn at(&mut self, place: u32) -> (u32, u32) {
        while self.next < self.ends.len() && self.ends[self.next] < place {
            self.next += 1;
        }
        let begin = if self.next > 0 { self.ends[self.next - 1] + 1 } else { 0 };
        (begin, self.ends.get(self.next).map_or(self.length as u32, |&end| end))
    }
}

fn raw_line((begin, end): (u32, u32), decoded: &Decoded) -> Again {
    let begin = decoded.raw(begin as usize) as u32;
    Again { begin, end: decoded.raw(end as usize) as u32, changed: false }
}

/// Finds the beginnings of addresses at the ends of lines of at least such a length.
fn find_cut(
    text: Text,
    decoded: &Decoded,
    newlines: &[u32],
    length: usize,
    spans: &mut Vec<Span>,
) {
    let known = spans.len();
    let mut next = 0;
    let mut begin = 0;
    let ends = newlines.iter().map(|&place| place as usize);
    for end in ends.chain(std::iter::once(text.data.len())) {
        while next < known && (spans[next].start as usize) < end {
            next += 1;
        }
        if decoded.raw(end) - decoded.raw(begin) >= length {
            let last = next.checked_sub(1).map_or(0, |index| spans[index].end as usize);
            let free = last.max(begin) - begin;
            if let Some((start, form)) = cut_end(&text.data[begin..end], free) {
                spans.push(Span::opaque(begin + start, end, Kind::Malformed, form));
            }
        }
        begin = end + 1;
        if begin > text.data.len() {
            break;
        }
    }
    if spans.len() > known {
        spans.sort_by_key(|span| span.start);
    }
}

/// Addresses that begin with the digits of what looks like an escape and may be none: `#10.0.0.1`.
/// Their places are those of the block, and `start` is where the escape is.
fn find_literal(
    block: &[u8],
    data: &[u8],
    decoded: &Decoded,
    spans: &[Span],
    config: &Config,
    out: &mut Vec<Span>,
) {
    out.clear();
    for (place, start, end) in decoded.escapes() {
        if at(block, end) != b'.' || !is_digit(block[end - 1]) {
            continue;
        }
        let byte = data[place];
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b':' | b'@' | b'-') {
            continue;
        }
        let digits = start + skip_back(&block[start..end], end - start, is_digit);
        if digits > 0 && is_digit(block[digits - 1]) {
            continue;
        }
        if digits > 1 && block[digits - 1] == b'.' && is_digit(block[digits - 2]) {
            continue;
        }
        let (stop, count) = ipv4::chain_from(block, digits, b'.');
        let judged = ipv4::judge(&block[digits..stop], count, config);
        if let Some(mut span) = ipv4::span_of(&block[..stop], digits, digits, judged, config) {
            let next = spans.partition_point(|other| other.raw_end <= span.raw_start);
            if !spans.get(next).map_or(false, |other| other.raw_start < span.raw_end) {
                span.start = place as u32;
                out.push(span);
            }
        }
    }
}

/// Whether nothing around a span can change its meaning when the span has gone; `before` is the end
/// of the span before it.
#[inline(always)]
fn is_apart(text: &[u8], span: &Span, before: u32) -> bool {
    let start = span.start as usize;
    let left = start == 0 || is_opening(text[start - 1]);
    left && span.start != before
        && ends_word(text, span.end as usize)
        && !(matches!(span.form, Form::Groups | Form::MalformedGroups | Form::Mapped)
            && may_separate(text, span))
}

/// Whether colons at either end, before or after, are part of something else: `://`, a date, or a
/// separator behind the name of a header. A zone may be a word that some rule looks for.
fn may_separate(text: &[u8], span: &Span) -> bool {
    let before = &text[..span.start as usize];
    let address = &text[span.start as usize..span.end as usize];
    if before.last() == Some(&b'/')
        || matches!(at(text, span.end as usize), b'/' | b':')
        || (ipv6::may_have_zone(span.number()) && address.contains(&b'%'))
    {
        return true;
    }
    let before = before.strip_suffix(b" ").unwrap_or(before);
    let before = before.strip_suffix(b"\"").or(before.strip_suffix(b"'")).unwrap_or(before);
    before.last().map_or(false, |byte| b"neyNEY".contains(byte))
}

/// Whether a word ends here, perhaps with a full stop or with a colon and a port.
fn ends_word(text: &[u8], end: usize) -> bool {
    let mut place = end;
    match at(text, place) {
        b'.' => place += 1,
        b':' => {
            place += 1;
            let most = (place + 5).min(text.len());
            while place < most && is_digit(text[place]) {
                place += 1;
            }
        }
        _ => {}
    }
    place >= text.len() || is_closing(text[place])
}

/// The beginning of an address at the end of a line that was cut.
fn cut_end(text: &[u8], begin: usize) -> Option<(usize, Form)> {
    let start = skip_back(text, text.len(), |byte| is_digit(byte) || byte == b'.');
    let low = begin.max(text.len().saturating_sub(16));
    if start >= low && start < text.len() && is_cut_quad(&text[start..]) {
        return Some((start, Form::MalformedQuad));
    }
    let start = skip_back(text, text.len(), |byte| is_hex(byte) || byte == b':');
    if start < begin {
        return None;
    }
    let groups = text[start..].split(|&byte| byte == b':').filter(|group| !group.is_empty()).count();
    (groups >= 2).then(|| (start, Form::MalformedGroups))
}

/// One to three numbers of up to three digits, each with a dot behind it, and up to three digits.
fn is_cut_quad(text: &[u8]) -> bool {
    let mut parts = text.split(|&byte| byte == b'.').rev();
    let last = parts.next().map_or(4, <[u8]>::len);
    let mut count = 0;
    for part in parts {
        if part.is_empty() || part.len() > 3 {
            return false;
        }
        count += 1;
    }
    last <= 3 && (1..=3).contains(&count)
}
