//! Scrubs blocks: finds lines, undoes escapes where there are any, applies the rules in their
//! order, and writes what stays.

use crate::bytes::*;
use crate::config::*;
use crate::fields::{self, Line};
use crate::replace::{self, Cache};
use crate::span::{Form, Kind, Span, KINDS};
use crate::text::{decode, Text};
use crate::{ipv4, ipv6, names};

const MOST_TURNS: usize = 8;

pub type Scan = fn(&[u8], &Config, &mut Vec<u32>);

pub struct Engine {
    config: Config,
    scan: Scan,
    pub counts: [u64; KINDS],
    pub out: Vec<u8>,
    work: Work,
    cache: Cache,
}

#[derive(Default)]
struct Work {
    data: Vec<u8>,
    source: Vec<u32>,
    events: Vec<u32>,
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
            work: Work::default(),
            cache,
        }
    }

    /// Puts the scrubbed block into `out`; the result is the number of lines.
    pub fn scrub(&mut self, block: &[u8]) -> u64 {
        let mut out = std::mem::take(&mut self.out);
        let mut events = Vec::new();
        let mut line_events = Vec::new();
        out.clear();
        out.reserve(block.len() + block.len() / 8);
        (self.scan)(block, &self.config, &mut events);
        let mut lines = 0;
        let mut begin = 0;
        let mut copied = 0;
        let mut escaped = false;
        for &event in &events {
            let place = event as usize;
            match block[place] {
                b'\n' => {
                    self.line(block, begin, place, escaped, &line_events, &mut copied, &mut out);
                    lines += 1;
                    begin = place + 1;
                    escaped = false;
                    line_events.clear();
                }
                b'%' | b'\\' | b'#' => escaped = true,
                _ => line_events.push(event - begin as u32),
            }
        }
        if begin < block.len() {
            self.line(block, begin, block.len(), escaped, &line_events, &mut copied, &mut out);
            lines += 1;
        }
        out.extend_from_slice(&block[copied..]);
        self.out = out;
        lines
    }

    #[allow(clippy::too_many_arguments)]
    fn line(
        &mut self,
        block: &[u8],
        begin: usize,
        end: usize,
        escaped: bool,
        events: &[u32],
        copied: &mut usize,
        out: &mut Vec<u8>,
    ) {
        let cut = self.config.cut_length.map_or(false, |length| end - begin >= length);
        if events.is_empty() && !escaped && !cut {
            return;
        }
        let line = &block[begin..end];
        let apart = self.work.find(line, escaped, events, cut, &self.config, self.scan);
        self.work.spans.iter().for_each(|span| {
            if span.kind != Kind::Wall {
                self.counts[span.kind as usize] += 1;
            }
        });
        if !self.work.spans.iter().any(is_replaced) {
            return;
        }
        out.extend_from_slice(&block[*copied..begin]);
        *copied = end;
        if apart {
            self.write(line, out);
            return;
        }
        let mut now = Vec::with_capacity(line.len() + 64);
        self.write(line, &mut now);
        let mut before = line.to_vec();
        let mut place = Vec::new();
        for _ in 1..MOST_TURNS {
            if now == before {
                break;
            }
            (self.scan)(&now, &self.config, &mut place);
            let escaped = place.iter().any(|&p| is_escape(now[p as usize]));
            place.retain(|&p| !is_escape(now[p as usize]));
            let cut = self.config.cut_length.map_or(false, |length| now.len() >= length);
            let apart = self.work.find(&now, escaped, &place, cut, &self.config, self.scan);
            if !self.work.spans.iter().any(is_replaced) {
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
        for span in &self.work.spans {
            if is_replaced(span) {
                let (start, stop) = self.work.places(span);
                out.extend_from_slice(&line[end..start]);
                let text = self.work.text(line);
                replace::write(span, text, &self.config, &mut self.cache, out);
                end = stop;
            }
        }
        out.extend_from_slice(&line[end..]);
    }

    /// Like `write`, and counts what was not there before.
    fn write_counting(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let mut end = 0;
        for span in &self.work.spans {
            if is_replaced(span) {
                let (start, stop) = self.work.places(span);
                out.extend_from_slice(&line[end..start]);
                let text = self.work.text(line);
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

fn is_escape(byte: u8) -> bool {
    matches!(byte, b'%' | b'\\' | b'#')
}

fn is_replaced(span: &Span) -> bool {
    span.form != Form::Stays
}

type Rule = for<'a> fn(&Line<'a>, &[Span], &mut Vec<Span>);

const COLON: u8 = 1;
const EQUALS: u8 = 2;
const SLASH: u8 = 4;
const BRACKET: u8 = 8;
const DASH: u8 = 16;
const AT: u8 = 32;
const DOT: u8 = 64;
const LETTER: u8 = 128;

/// The rules in the order of their precedence, with the bytes without which they find nothing, and
/// the kind that the configuration can leave.
static ORDER: [(Rule, u8, u8); 14] = [
    (|line, _, out| fields::credentials(line, out), COLON | EQUALS | LETTER, LEAVE_CREDENTIAL),
    (fields::parameters, COLON | EQUALS, LEAVE_PARAMETER),
    (fields::paths, SLASH, LEAVE_PATH),
    (fields::user, BRACKET, LEAVE_USER),
    (fields::authorities, COLON, 0),
    (fields::own, DASH, 0),
    (fields::emails, AT, LEAVE_EMAIL),
    (names::pointers, DOT, LEAVE_NAME),
    (names::dashed, DASH, LEAVE_NAME),
    (names::dotted, DOT, LEAVE_NAME),
    (names::hex_labels, DOT, LEAVE_NAME),
    (names::hardware, COLON | DASH, LEAVE_MAC),
    (ipv6::find, COLON, 0),
    (ipv4::find, DOT, 0),
];

fn class(byte: u8) -> u8 {
    match byte {
        b':' => COLON,
        b'=' => EQUALS,
        b'/' => SLASH,
        b'[' => BRACKET,
        b'-' => DASH,
        b'@' => AT,
        b'.' => DOT,
        _ => LETTER,
    }
}

impl Work {
    /// Finds the spans of a line, with places in its decoded text; whether all stand apart.
    /// Those of `find_literal` follow the others and count in the line itself.
    fn find(
        &mut self,
        line: &[u8],
        escaped: bool,
        events: &[u32],
        cut: bool,
        config: &Config,
        scan: Scan,
    ) -> bool {
        let Work { data, source, events: own_events, new, spans } = self;
        spans.clear();
        let decoded = escaped && decode(line, data, source);
        let (text, events) = if decoded {
            scan(data, config, own_events);
            own_events.retain(|&place| {
                !matches!(data[place as usize], b'%' | b'\\' | b'#' | b'\n')
            });
            (Text { data, source: Some(source) }, &own_events[..])
        } else {
            source.clear();
            (Text { data: line, source: None }, events)
        };
        let present = events.iter().fold(0, |all, &place| all | class(text.data[place as usize]));
        let line_of = Line { text, events, config };
        if present != 0 {
            for (rule, needs, kind) in &ORDER {
                if needs & present != 0 && !config.leaves(*kind) {
                    new.clear();
                    rule(&line_of, spans, new);
                    if !new.is_empty() {
                        spans.append(new);
                        spans.sort_by_key(|span| span.start);
                    }
                }
            }
        }
        if cut {
            if let Some(span) = cut_end(text.data, spans.last().map_or(0, |span| span.end)) {
                spans.push(span);
            }
        }
        let mut apart = are_apart(text.data, spans);
        if decoded {
            let before = spans.len();
            new.clear();
            find_literal(line, &text, spans, config, new);
            spans.append(new);
            apart &= spans.len() == before;
            if spans.len() > before {
                // a literal address overlaps no other span, so that places in the line give order
                let place = |span: &Span, literal: bool| {
                    if literal { span.start } else { source[span.start] as usize }
                };
                let mut order: Vec<(usize, Span)> = spans
                    .iter()
                    .enumerate()
                    .map(|(index, span)| (place(span, index >= before), *span))
                    .collect();
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

fn are_apart(text: &[u8], spans: &[Span]) -> bool {
    let mut end = usize::MAX;
    for span in spans {
        if span.form != Form::Stays {
            let left = span.start == 0
                || matches!(
                    text[span.start - 1],
                    b' ' | b'"' | b'[' | b'(' | b',' | b';' | b'<' | b'=' | b'/' | b'\'' | b'\t' | b'{' | b'|'
                );
            if !left || span.start == end || !ends_word(text, span.end) {
                return false;
            }
        }
        end = span.end;
    }
    true
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
            b' ' | b'"' | b']' | b')' | b'>' | b',' | b';' | b'/' | b'\'' | b'\t' | b'}' | b'|' | b'&' | b'?' | b'\r'
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
