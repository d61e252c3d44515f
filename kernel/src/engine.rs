//! Scrubs blocks: finds lines, undoes escapes where there are any, applies the rules in their
//! order, and writes what stays.

use crate::bytes::*;
use crate::config::*;
use crate::fields::{self, Line, Places};
use crate::replace::{self, Cache};
use crate::scan::{Events, LISTS};
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
    events: Events,
    line_events: Events,
    work: Work,
    cache: Cache,
}

/// How far the events of a block have been handed out to lines.
#[derive(Default)]
struct Cursors {
    lists: [usize; LISTS],
    escapes: usize,
}

impl Cursors {
    /// The events of the next line, whether there are any, and whether it may hold escapes.
    fn take<'a>(
        &mut self,
        events: &'a Events,
        begin: usize,
        end: usize,
    ) -> (Places<'a>, bool, bool) {
        let end = end as u32;
        let mut any = false;
        let mut lists: [&[u32]; LISTS] = [&[]; LISTS];
        for ((list, from), cursor) in lists.iter_mut().zip(events.lists()).zip(&mut self.lists) {
            let first = *cursor;
            let mut last = first;
            while last < from.len() && from[last] < end {
                last += 1;
            }
            *list = &from[first..last];
            *cursor = last;
            any |= last > first;
        }
        let first = self.escapes;
        while self.escapes < events.escapes.len() && events.escapes[self.escapes] < end {
            self.escapes += 1;
        }
        (Places { lists, base: begin as u32 }, any, self.escapes > first)
    }
}

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
            events: Events::default(),
            line_events: Events::default(),
            work: Work::default(),
            cache,
        }
    }

    /// Puts the scrubbed block into `out`; the result is the number of lines.
    pub fn scrub(&mut self, block: &[u8]) -> u64 {
        let mut out = std::mem::take(&mut self.out);
        let mut events = std::mem::take(&mut self.events);
        out.clear();
        out.reserve(block.len() + block.len() / 8);
        (self.scan)(block, &self.config, &mut events);
        let mut cursors = Cursors::default();
        let mut lines = 0;
        let mut begin = 0;
        let mut copied = 0;
        for &place in &events.newlines {
            let end = place as usize;
            self.line(block, begin, end, &events, &mut cursors, &mut copied, &mut out);
            lines += 1;
            begin = end + 1;
        }
        if begin < block.len() {
            self.line(block, begin, block.len(), &events, &mut cursors, &mut copied, &mut out);
            lines += 1;
        }
        out.extend_from_slice(&block[copied..]);
        self.out = out;
        self.events = events;
        lines
    }

    #[allow(clippy::too_many_arguments)]
    fn line(
        &mut self,
        block: &[u8],
        begin: usize,
        end: usize,
        events: &Events,
        cursors: &mut Cursors,
        copied: &mut usize,
        out: &mut Vec<u8>,
    ) {
        let cut = self.config.cut_length.map_or(false, |length| end - begin >= length);
        let (places, any, escaped) = cursors.take(events, begin, end);
        if !any && !escaped && !cut {
            return;
        }
        let line = &block[begin..end];
        let apart = self.work.find(line, escaped, places, cut, &self.config, self.scan);
        let mut replaced = false;
        for span in &self.work.spans {
            if span.kind != Kind::Wall {
                self.counts[span.kind as usize] += 1;
            }
            replaced |= is_replaced(span);
        }
        if !replaced {
            return;
        }
        out.extend_from_slice(&block[*copied..begin]);
        *copied = end;
        if apart {
            self.write(line, out);
        } else {
            self.again(line, out);
        }
    }

    /// Writes a line, looks at what has become of it, and so on until nothing changes.
    fn again(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let mut now = Vec::with_capacity(line.len() + 64);
        self.write(line, &mut now);
        let mut before = line.to_vec();
        let mut events = std::mem::take(&mut self.line_events);
        for _ in 1..MOST_TURNS {
            if now == before {
                break;
            }
            (self.scan)(&now, &self.config, &mut events);
            let (places, _, escaped) = Cursors::default().take(&events, 0, now.len());
            let cut = self.config.cut_length.map_or(false, |length| now.len() >= length);
            let apart = self.work.find(&now, escaped, places, cut, &self.config, self.scan);
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
        self.line_events = events;
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

fn is_replaced(span: &Span) -> bool {
    span.form != Form::Stays
}

type Rule = for<'a> fn(&Line<'a>, &[Span], &mut Vec<Span>);

const fn needs(lists: &[usize]) -> u16 {
    let mut bits = 0;
    let mut index = 0;
    while index < lists.len() {
        bits |= 1 << lists[index];
        index += 1;
    }
    bits
}

/// The rules in the order of their precedence, with the events of which they need one, and the
/// kind that the configuration can leave.
static ORDER: [(Rule, u16, u8); 14] = [
    (|line, _, out| fields::credentials(line, out), needs(&[7, 11]), LEAVE_CREDENTIAL),
    (fields::parameters, needs(&[7]), LEAVE_PARAMETER),
    (fields::paths, needs(&[8]), LEAVE_PATH),
    (fields::user, needs(&[9]), LEAVE_USER),
    (fields::authorities, needs(&[6]), 0),
    (fields::own, needs(&[3]), 0),
    (fields::emails, needs(&[10]), LEAVE_EMAIL),
    (names::pointers, needs(&[0]), LEAVE_NAME),
    (names::dashed, needs(&[2]), LEAVE_NAME),
    (names::dotted, needs(&[0]), LEAVE_NAME),
    (names::hex_labels, needs(&[1]), LEAVE_NAME),
    (names::hardware, needs(&[2, 5]), LEAVE_MAC),
    (ipv6::find, needs(&[4]), 0),
    (ipv4::find, needs(&[0]), 0),
];

impl Work {
    /// Finds the spans of a line, with places in its decoded text; whether all stand apart.
    /// Those of `find_literal` follow the others and count in the line itself.
    fn find(
        &mut self,
        line: &[u8],
        escaped: bool,
        places: Places<'_>,
        cut: bool,
        config: &Config,
        scan: Scan,
    ) -> bool {
        let Work { data, source, events: own_events, new, spans } = self;
        spans.clear();
        let decoded = escaped && decode(line, data, source);
        let (text, places) = if decoded {
            scan(data, config, own_events);
            let (places, _, _) = Cursors::default().take(own_events, 0, data.len());
            (Text { data, source: Some(source) }, places)
        } else {
            source.clear();
            (Text { data: line, source: None }, places)
        };
        let mut present = 0u16;
        for (index, list) in places.lists.iter().enumerate() {
            present |= u16::from(!list.is_empty()) << index;
        }
        let line_of = Line { text, places, config };
        if present != 0 {
            for (rule, needs, kind) in &ORDER {
                if needs & present != 0 && !config.leaves(*kind) {
                    let old = spans.len();
                    new.clear();
                    rule(&line_of, spans, new);
                    if !new.is_empty() {
                        let first = new[0].start;
                        spans.append(new);
                        if old > 0 && spans[old - 1].start > first {
                            spans.sort_by_key(|span| span.start);
                        }
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
