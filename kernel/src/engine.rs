//! Scrubs blocks: undoes escapes, applies the rules in their order, and writes what stays.

use crate::bytes::*;
use crate::config::*;
use crate::fields::{self, Line};
use crate::replace;
use crate::scan::{escapes, scan, scan_portable, Events};
use crate::span::{Form, Kind, Span, KINDS};
use crate::text::{Decoded, Mapper, Text};
use crate::tokens::Cache;
use crate::{ipv4, ipv6, names};

const MOST_TURNS: usize = 8;
/// So many bytes at once, with all that is found in them, stay in the processor's nearest memory.
const PIECE: usize = 64 << 10;

type Scan = fn(&[u8], &Config, &mut Events);

pub struct Engine {
    config: Config,
    scan: Scan,
    pub counts: [u64; KINDS + 1],
    pub out: Vec<u8>,
    cache: Cache,
    turns: Vec<Turn>,
}

/// What one search over a block of lines needs and finds.
#[derive(Default)]
struct Turn {
    decoded: Decoded,
    places: Vec<u32>,
    events: Events,
    new: Vec<Span>,
    spans: Vec<Span>,
    /// Lines to be looked at again, because something that goes is glued to something else.
    again: Vec<Again>,
    input: Vec<u8>,
    output: Vec<u8>,
}

/// Where a line begins and ends in the block, and whether it is another now.
#[derive(Clone, Copy)]
struct Again {
    begin: u32,
    end: u32,
    changed: bool,
}

impl Engine {
    /// `portable` is to do without special instructions.
    pub fn new(config: Config, portable: bool) -> Self {
        let scan: Scan = if portable { scan_portable } else { scan };
        let cache = Cache::new(&config, portable);
        let turns = (0..MOST_TURNS).map(|_| Turn::default()).collect();
        Engine { config, scan, counts: [0; KINDS + 1], out: Vec::new(), cache, turns }
    }

    /// Puts the scrubbed block into `out`; the result is the number of lines.
    pub fn scrub(&mut self, block: &[u8]) -> u64 {
        let mut out = std::mem::take(&mut self.out);
        out.clear();
        out.reserve(block.len() + block.len() / 8);
        let mut lines = 0;
        let mut begin = 0;
        while begin < block.len() {
            let end = piece_end(block, begin);
            lines += self.turn(0, &block[begin..end], &mut out);
            begin = end;
        }
        self.out = out;
        lines as u64
    }

    /// Scrubs whole lines for the first time, or once more; returns their number.
    ///
    /// All lines of a block that must be looked at again are one block for the next turn.
    fn turn(&mut self, depth: usize, block: &[u8], out: &mut Vec<u8>) -> usize {
        let mut turn = std::mem::take(&mut self.turns[depth]);
        turn.find(block, &self.config, self.scan);
        self.cache.warm(&turn.spans, &self.config);
        if depth + 1 == MOST_TURNS {
            turn.again.clear();
        }
        turn.output.clear();
        if !turn.again.is_empty() {
            self.again(depth, block, &mut turn);
        }
        self.emit(depth, block, &turn, out);
        let lines = turn.events.newlines.len() + usize::from(block.last() != Some(&b'\n'));
        self.turns[depth] = turn;
        lines
    }

    /// Scrubs the lines that must be looked at again until nothing changes, into `turn.output`.
    fn again(&mut self, depth: usize, block: &[u8], turn: &mut Turn) {
        let mut input = std::mem::take(&mut turn.input);
        input.clear();
        let data = turn.decoded.text(block).data;
        let mut next = 0;
        for line in &mut turn.again {
            while next < turn.spans.len() && turn.spans[next].raw_start < line.begin {
                next += 1;
            }
            let length = input.len();
            let mut copied = line.begin as usize;
            while next < turn.spans.len() && turn.spans[next].raw_start < line.end {
                self.put(&turn.spans[next], depth, block, data, &mut copied, &mut input);
                next += 1;
            }
            let end = line.end as usize;
            input.extend_from_slice(&block[copied..end]);
            line.changed = input[length..] != block[line.begin as usize..end];
            if line.changed {
                input.push(b'\n');
            } else {
                input.truncate(length);
            }
        }
        if !input.is_empty() {
            self.turn(depth + 1, &input, &mut turn.output);
        }
        turn.input = input;
    }

    fn emit(&mut self, depth: usize, block: &[u8], turn: &Turn, out: &mut Vec<u8>) {
        let data = turn.decoded.text(block).data;
        let mut lines = turn.again.iter().peekable();
        let mut output = turn.output.as_slice();
        let mut copied = 0;
        for span in &turn.spans {
            while let Some(line) = lines.next_if(|line| line.begin <= span.raw_start) {
                copied = put_line(line, block, copied, &mut output, out);
            }
            // what is in a line that was looked at again is done
            if span.raw_start as usize >= copied {
                self.put(span, depth, block, data, &mut copied, out);
            }
        }
        for line in lines {
            copied = put_line(line, block, copied, &mut output, out);
        }
        out.extend_from_slice(&block[copied..]);
    }

    /// Writes what stands before a span, and its replacement; counts it.
    #[inline(always)]
    fn put(
        &mut self,
        span: &Span,
        depth: usize,
        block: &[u8],
        data: &[u8],
        copied: &mut usize,
        out: &mut Vec<u8>,
    ) {
        if depth == 0 {
            self.counts[span.kind as usize] += 1;
        }
        if !span.is_replaced() {
            return;
        }
        let (start, end) = (span.raw_start as usize, span.raw_end as usize);
        out.extend_from_slice(&block[*copied..start]);
        let length = out.len();
        replace::write(span, data, &self.config, &mut self.cache, out);
        if depth > 0 && out[length..] != block[start..end] {
            self.counts[span.kind as usize] += 1;
        }
        *copied = end;
    }
}

/// Writes what stands before a line that was looked at again, and what has become of it.
fn put_line(
    line: &Again,
    block: &[u8],
    copied: usize,
    output: &mut &[u8],
    out: &mut Vec<u8>,
) -> usize {
    let (begin, end) = (line.begin as usize, line.end as usize);
    out.extend_from_slice(&block[copied..begin]);
    if line.changed {
        let length = find_byte(output, b'\n');
        out.extend_from_slice(&output[..length]);
        *output = &output[length + 1..];
    } else {
        out.extend_from_slice(&block[begin..end]);
    }
    end
}

/// Where a piece of whole lines ends.
fn piece_end(block: &[u8], begin: usize) -> usize {
    let rest = &block[begin..];
    if rest.len() <= PIECE {
        return block.len();
    }
    match rfind(&rest[..PIECE], b'\n') {
        Some(newline) => begin + newline + 1,
        None => (begin + PIECE + find_byte(&rest[PIECE..], b'\n') + 1).min(block.len()),
    }
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
    fn find(&mut self, block: &[u8], config: &Config, scan: Scan) {
        let Turn { decoded, places, events, new, spans, again, .. } = self;
        escapes(block, places);
        decoded.decode(block, places);
        let text = decoded.text(block);
        scan(text.data, config, events);
        spans.clear();
        apply(text, events, config, spans, new);
        if let Some(length) = config.cut_length {
            find_cut(text, decoded, &events.newlines, length, spans);
        }
        again.clear();
        let mut lines = Lines { ends: &events.newlines, next: 0, length: text.data.len() };
        let mut known = 0;
        let mut before = u32::MAX;
        for span in spans.iter() {
            if span.is_replaced() && span.start >= known && !is_apart(text.data, span, before) {
                let line = lines.at(span.start);
                known = line.1;
                again.push(raw_line(line, decoded));
            }
            before = span.end;
        }
        if decoded.has_escapes() {
            let mut mapper = Mapper::new(decoded);
            for span in spans.iter_mut() {
                span.raw_start = mapper.raw(span.start as usize) as u32;
                span.raw_end = mapper.raw(span.end as usize) as u32;
            }
            find_literal(block, text.data, decoded, spans, config, new);
            if !new.is_empty() {
                let mut lines = Lines { ends: &events.newlines, next: 0, length: text.data.len() };
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

type Rule = for<'a> fn(&Line<'a>, &[Span], &mut Vec<Span>);

/// The rules in the order of their precedence, with the kind that the configuration can leave.
static ORDER: [(Rule, u8); 14] = [
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
    (ipv4::find, 0),
];

/// Adds to `spans`, which are in order, what the rules find between them.
fn apply(
    text: Text,
    events: &Events,
    config: &Config,
    spans: &mut Vec<Span>,
    new: &mut Vec<Span>,
) {
    let line = Line { text, newlines: &events.newlines, events, config };
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
}

/// Whether nothing around a span can change its meaning when the span has gone; `before` is the end
/// of the span before it.
#[inline(always)]
fn is_apart(text: &[u8], span: &Span, before: u32) -> bool {
    let start = span.start as usize;
    let left = start == 0
        || matches!(
            text[start - 1],
            b' ' | b'"' | b'[' | b'(' | b',' | b';' | b'<' | b'=' | b'/' | b'\'' | b'\t' | b'{' | b'|'
                | b'\n'
        );
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
        || at(text, span.end as usize) == b'/'
        || address.contains(&b'%')
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
    place >= text.len()
        || matches!(
            text[place],
            b' ' | b'"' | b']' | b')' | b'>' | b',' | b';' | b'/' | b'\'' | b'\t' | b'}' | b'|' | b'&' | b'?' | b'\r' | b'\n'
        )
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
