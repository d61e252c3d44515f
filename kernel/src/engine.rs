//! Scrubs blocks: finds lines, undoes escapes where there are any, applies the rules in their
//! order, and writes what stays.

use crate::bytes::*;
use crate::config::*;
use crate::fields::{self, Line};
use crate::replace::{self, Cache};
use crate::scan::Events;
use crate::span::{Form, Kind, Span, KINDS};
use crate::text::{decode, Text};
use crate::{ipv4, ipv6, names};

const MOST_TURNS: usize = 8;

pub type Scan = fn(&[u8], &Config, &mut Events);

pub struct Engine {
    config: Config,
    scan: Scan,
    pub counts: [u64; KINDS],
    pub out: Vec<u8>,
    cache: Cache,
    block: Work,
    line: Work,
    slow: Vec<(usize, usize)>,
    dirty: Vec<(usize, usize)>,
}

/// What one search needs and finds: in a block of lines, or in one line that may hold escapes.
#[derive(Default)]
struct Work {
    data: Vec<u8>,
    source: Vec<u32>,
    events: Events,
    new: Vec<Span>,
    spans: Vec<Span>,
}

impl Engine {
    pub fn new(config: Config, scan: Scan) -> Self {
        let cache = Cache::new(&config);
        Engine {
            config,
            scan,
            counts: [0; KINDS],
            out: Vec::new(),
            cache,
            block: Work::default(),
            line: Work::default(),
            slow: Vec::new(),
            dirty: Vec::new(),
        }
    }

    /// Puts the scrubbed block into `out`; the result is the number of lines.
    ///
    /// Lines without escapes are searched all at once. Those with escapes, those that were cut, and
    /// those in which something that goes is glued to something else are taken one by one.
    pub fn scrub(&mut self, block: &[u8]) -> u64 {
        self.out.clear();
        self.out.reserve(block.len() + block.len() / 8);
        (self.scan)(block, &self.config, &mut self.block.events);
        self.find_slow(block);
        self.block.spans.clear();
        self.block.spans.extend(self.slow.iter().map(|&(begin, end)| Span::wall(begin, end)));
        self.block.source.clear();
        apply(
            Text { data: block, source: None },
            &self.block.events,
            &self.config,
            &mut self.block.spans,
            &mut self.block.new,
        );
        self.find_dirty(block);
        let lines = self.block.events.newlines.len();
        self.emit(block);
        (lines + usize::from(block.last().map_or(false, |&byte| byte != b'\n'))) as u64
    }

    /// Lines with escapes, and lines that were cut.
    fn find_slow(&mut self, block: &[u8]) {
        self.slow.clear();
        let escapes = &self.block.events.escapes;
        let mut next = 0;
        let mut begin = 0;
        let ends = self.block.events.newlines.iter().map(|&place| place as usize);
        for end in ends.chain(std::iter::once(block.len())) {
            let first = next;
            while next < escapes.len() && (escapes[next] as usize) < end {
                next += 1;
            }
            let cut = self.config.cut_length.map_or(false, |length| end - begin >= length);
            if (next > first || cut) && end > begin {
                self.slow.push((begin, end));
            }
            begin = end + 1;
        }
    }

    /// Lines in which something that goes does not stand apart; they join the slow ones.
    fn find_dirty(&mut self, block: &[u8]) {
        self.dirty.clear();
        let mut known = 0;
        let mut before = usize::MAX;
        for span in &self.block.spans {
            if is_replaced(span) && span.start >= known && !is_apart(block, span, before) {
                let begin = skip_back(block, span.start, |byte| byte != b'\n');
                known = skip(block, span.end, |byte| byte != b'\n');
                self.dirty.push((begin, known));
            }
            before = span.end;
        }
        if !self.dirty.is_empty() {
            self.slow.append(&mut self.dirty);
            self.slow.sort_unstable();
        }
    }

    fn emit(&mut self, block: &[u8]) {
        let spans = std::mem::take(&mut self.block.spans);
        let slow = std::mem::take(&mut self.slow);
        let mut out = std::mem::take(&mut self.out);
        let mut slow_next = 0;
        let mut copied = 0;
        for span in &spans {
            while slow_next < slow.len() && slow[slow_next].0 <= span.start {
                let (begin, end) = slow[slow_next];
                out.extend_from_slice(&block[copied..begin]);
                self.line(&block[begin..end], &mut out);
                copied = end;
                slow_next += 1;
            }
            // a slow line has done all that is in it
            if span.kind == Kind::Wall || span.start < copied {
                continue;
            }
            self.counts[span.kind as usize] += 1;
            if is_replaced(span) {
                out.extend_from_slice(&block[copied..span.start]);
                replace::write(span, block, &self.config, &mut self.cache, &mut out);
                copied = span.end;
            }
        }
        for &(begin, end) in &slow[slow_next..] {
            out.extend_from_slice(&block[copied..begin]);
            self.line(&block[begin..end], &mut out);
            copied = end;
        }
        out.extend_from_slice(&block[copied..]);
        self.block.spans = spans;
        self.slow = slow;
        self.out = out;
    }

    /// Writes a line, looks at what has become of it, and so on until nothing changes.
    fn line(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let apart = self.line.find(line, &self.config, self.scan);
        let mut replaced = false;
        for span in &self.line.spans {
            if span.kind != Kind::Wall {
                self.counts[span.kind as usize] += 1;
            }
            replaced |= is_replaced(span);
        }
        if !replaced {
            out.extend_from_slice(line);
            return;
        }
        if apart {
            self.write(line, out);
            return;
        }
        let mut now = Vec::with_capacity(line.len() + 64);
        self.write(line, &mut now);
        let mut before = line.to_vec();
        for _ in 1..MOST_TURNS {
            if now == before {
                break;
            }
            let apart = self.line.find(&now, &self.config, self.scan);
            if !self.line.spans.iter().any(is_replaced) {
                break;
            }
            std::mem::swap(&mut before, &mut now);
            now.clear();
            self.write_counting(&before, &mut now);
            if apart {
                break;
            }
        }
        out.extend_from_slice(&now);
    }

    fn write(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let mut end = 0;
        for span in &self.line.spans {
            if is_replaced(span) {
                let (start, stop) = self.line.places(span);
                out.extend_from_slice(&line[end..start]);
                let text = self.line.text(line);
                replace::write(span, text, &self.config, &mut self.cache, out);
                end = stop;
            }
        }
        out.extend_from_slice(&line[end..]);
    }

    /// Like `write`, and counts what was not there before.
    fn write_counting(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let mut end = 0;
        for span in &self.line.spans {
            if is_replaced(span) {
                let (start, stop) = self.line.places(span);
                out.extend_from_slice(&line[end..start]);
                let text = self.line.text(line);
                let length = out.len();
                replace::write(span, text, &self.config, &mut self.cache, out);
                if out[length..] != line[start..stop] {
                    self.counts[span.kind as usize] += 1;
                }
                end = stop;
            }
        }
        out.extend_from_slice(&line[end..]);
    }
}

fn is_replaced(span: &Span) -> bool {
    span.form != Form::Stays
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
            let in_order = spans.last().map_or(true, |last| last.start < first.start);
            spans.append(new);
            if !in_order {
                spans.sort_by_key(|span| span.start);
            }
        }
    }
}

impl Work {
    /// Finds the spans of a line, with places in its decoded text; whether all stand apart.
    fn find(&mut self, line: &[u8], config: &Config, scan: Scan) -> bool {
        let Work { data, source, events, new, spans } = self;
        spans.clear();
        let decoded = decode(line, data, source);
        let text = if decoded {
            Text { data, source: Some(source) }
        } else {
            source.clear();
            Text { data: line, source: None }
        };
        scan(text.data, config, events);
        apply(text, events, config, spans, new);
        if config.cut_length.map_or(false, |length| line.len() >= length) {
            if let Some(span) = cut_end(text.data, spans.last().map_or(0, |span| span.end)) {
                spans.push(span);
            }
        }
        let mut before = usize::MAX;
        let mut apart = true;
        for span in spans.iter() {
            apart &= !is_replaced(span) || is_apart(text.data, span, before);
            before = span.end;
        }
        if decoded {
            let count = spans.len();
            new.clear();
            find_literal(line, &text, spans, config, new);
            apart &= new.is_empty();
            if !new.is_empty() {
                spans.append(new);
                // a literal address overlaps no other span: places in the line give the order
                let mut order: Vec<(usize, Span)> = Vec::with_capacity(spans.len());
                for (index, span) in spans.iter().enumerate() {
                    let literal = index >= count;
                    let start = if literal { span.start } else { text.place(span.start) };
                    order.push((start, *span));
                }
                order.sort_by_key(|&(start, _)| start);
                spans.clear();
                spans.extend(order.into_iter().map(|(_, span)| span));
            }
        }
        apart
    }

    fn text<'a>(&'a self, line: &'a [u8]) -> &'a [u8] {
        if self.source.is_empty() {
            line
        } else {
            &self.data
        }
    }

    /// Where a span stands in the line.
    fn places(&self, span: &Span) -> (usize, usize) {
        if self.source.is_empty() || span.value_end == LITERAL {
            (span.start, span.end)
        } else {
            (self.source[span.start] as usize, self.source[span.end] as usize)
        }
    }
}

/// The mark of a span whose places count in the line and not in its decoded text.
const LITERAL: usize = usize::MAX;

/// Addresses that begin with the digits of what looks like an escape and may be none: `#10.0.0.1`.
fn find_literal(line: &[u8], text: &Text, spans: &[Span], config: &Config, out: &mut Vec<Span>) {
    let mut next = 0;
    for (index, &byte) in text.data.iter().enumerate() {
        if text.is_raw(index) {
            continue;
        }
        let (start, end) = (text.place(index), text.place(index + 1));
        let is_part = byte.is_ascii_alphanumeric()
            || matches!(byte, b'_' | b'.' | b':' | b'@' | b'-');
        if is_part || at(line, end) != b'.' || !is_digit(line[end - 1]) {
            continue;
        }
        let digits = start + skip_back(&line[start..end], end - start, is_digit);
        if digits > 0 && is_digit(line[digits - 1]) {
            continue;
        }
        if digits > 1 && line[digits - 1] == b'.' && is_digit(line[digits - 2]) {
            continue;
        }
        let (stop, count) = ipv4::chain_from(line, digits, b'.');
        let judged = ipv4::judge(&line[digits..stop], count, config);
        if let Some(mut span) = ipv4::span_of(&line[..stop], digits, digits, judged, config) {
            while next < spans.len() && text.place(spans[next].end) <= span.start {
                next += 1;
            }
            let overlaps = spans.get(next).map_or(false, |other| text.place(other.start) < span.end);
            if !overlaps {
                span.value_end = LITERAL;
                out.push(span);
            }
        }
    }
}

/// Whether nothing around a span can change its meaning when the span has gone; `before` is the end
/// of the span before it.
#[inline(always)]
fn is_apart(text: &[u8], span: &Span, before: usize) -> bool {
    let left = span.start == 0
        || matches!(
            text[span.start - 1],
            b' ' | b'"' | b'[' | b'(' | b',' | b';' | b'<' | b'=' | b'/' | b'\'' | b'\t' | b'{' | b'|'
                | b'\n'
        );
    left && span.start != before && ends_word(text, span.end)
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
fn cut_end(text: &[u8], begin: usize) -> Option<Span> {
    let start = skip_back(text, text.len(), |byte| is_digit(byte) || byte == b'.');
    let low = begin.max(text.len().saturating_sub(16));
    if start >= low && start < text.len() && is_cut_quad(&text[start..]) {
        return Some(Span::address(start, text.len(), Kind::Malformed, Form::MalformedQuad, 0));
    }
    let start = skip_back(text, text.len(), |byte| is_hex(byte) || byte == b':');
    if start < begin {
        return None;
    }
    let groups = text[start..].split(|&byte| byte == b':').filter(|group| !group.is_empty()).count();
    (groups >= 2)
        .then(|| Span::address(start, text.len(), Kind::Malformed, Form::MalformedGroups, 0))
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
