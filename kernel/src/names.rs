//! Rules for host names that hold an address, and for hardware addresses.

use crate::bytes::*;
use crate::config::Config;
use crate::fields::Line;
use crate::ipv4::{chain_around, follows_product, is_octet};
use crate::span::*;

const NIBBLES: usize = 13;
const LONGEST_NAME: usize = 255;

pub fn pointers(line: &Line, walls: &[Span], out: &mut Vec<Span>) {
    let text = line.text.data;
    let mut gaps = Gaps::new(walls, text.len());
    let mut skipped = 0;
    let mut floor = 0;
    for place in line.name_dots() {
        if place < skipped {
            continue;
        }
        let (low, high) = match gaps.at(place) {
            Some(gap) => gap,
            None => continue,
        };
        let data = &text[..high];
        let end = skip(data, place, |byte| is_hex(byte) || byte == b'.');
        skipped = end;
        let (anchor, nibbles) = if starts_with_any_case(data, end, b"in-addr.arpa") {
            (end + 12, false)
        } else if starts_with_any_case(data, end, b"ip6.arpa") {
            (end + 8, true)
        } else {
            continue;
        };
        if data[end - 1] != b'.' || (anchor < high && is_label(data[anchor])) {
            continue;
        }
        let low = low.max(floor);
        let (start, labels) = labels_before(data, low, end - 1, nibbles);
        if labels >= if nibbles { NIBBLES } else { 4 } {
            floor = anchor;
            out.push(Span::opaque(start, anchor, Kind::Name, Form::Opaque));
        }
    }
}

/// Where the labels of a pointer begin, and how many there are.
fn labels_before(data: &[u8], low: usize, dot: usize, nibbles: bool) -> (usize, usize) {
    let most = if nibbles { 1 } else { 3 };
    let mut start = dot;
    let mut labels = 0;
    loop {
        let mut label = start;
        while label > low && start - label < most {
            let byte = data[label - 1];
            if !(if nibbles { is_hex(byte) } else { is_digit(byte) }) {
                break;
            }
            label -= 1;
        }
        if label == start {
            return (start + usize::from(labels > 0), labels);
        }
        labels += 1;
        start = label;
        if label == low || data[label - 1] != b'.' {
            return (start, labels);
        }
        start -= 1;
    }
}

/// Tells whether two labels follow a place, the last a top-level domain. Places are asked for in
/// ascending order, and each run of a name's characters is looked at once.
struct Names {
    end: Option<usize>,
    stripped: usize,
    second: Option<usize>,
}

impl Names {
    fn new() -> Self {
        Names { end: None, stripped: 0, second: None }
    }

    fn holds(&mut self, data: &[u8], place: usize, config: &Config) -> bool {
        if self.end.map_or(true, |end| place > end) {
            self.look(data, place, config);
        }
        self.second.map_or(false, |second| place <= second)
    }

    fn look(&mut self, data: &[u8], place: usize, config: &Config) {
        let end = skip(data, place, |byte| is_label(byte) || byte == b'.');
        let name = &data[place..end];
        let stripped = skip_back(name, name.len(), |byte| matches!(byte, b'.' | b'_' | b'-'));
        let name = &name[..stripped];
        self.end = Some(end);
        self.stripped = place + stripped;
        self.second = None;
        if let Some(last) = rfind(name, b'.') {
            let top = &name[last + 1..];
            let good = top.len() > 1
                && top.iter().all(u8::is_ascii_alphabetic)
                && !config.is_file_type(top);
            if good {
                self.second = rfind(&name[..last], b'.').map(|second| place + second);
            }
        }
    }

    fn is_own(&self, data: &[u8], low: usize, start: usize, config: &Config) -> bool {
        let mut begin = start;
        while begin > low
            && start - begin <= LONGEST_NAME
            && (is_label(data[begin - 1]) || data[begin - 1] == b'.')
        {
            begin -= 1;
        }
        let name = &data[begin..self.stripped];
        config.own_names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

pub fn dashed(line: &Line, walls: &[Span], out: &mut Vec<Span>) {
    let text = line.text.data;
    let mut gaps = Gaps::new(walls, text.len());
    let mut names = Names::new();
    let mut gap_low = usize::MAX;
    let mut skipped = 0;
    for place in line.dashes() {
        if place < skipped {
            continue;
        }
        let (low, high) = match gaps.at(place) {
            Some(gap) => gap,
            None => continue,
        };
        if low != gap_low {
            gap_low = low;
            names = Names::new();
        }
        let data = &text[..high];
        let (start, end, count) = match chain_around(data, low, place, b'-') {
            Some(chain) => chain,
            None => continue,
        };
        skipped = end;
        if count < 4 || !names.holds(data, end, line.config) {
            continue;
        }
        let attached = count > 4 && start > low && data[start - 1].is_ascii_alphabetic();
        let (begin, stop) = match octets(&data[start..end], attached) {
            Some((begin, stop)) => (start + begin, start + stop),
            None => continue,
        };
        if names.is_own(data, low, start, line.config) {
            out.push(Span::wall(begin, stop));
        } else {
            out.push(Span::opaque(begin, stop, Kind::Name, Form::Dashed));
        }
    }
}

/// Where the first four or more octets in a row stand.
fn octets(chain: &[u8], skip_first: bool) -> Option<(usize, usize)> {
    let mut position = 0;
    let mut begin = 0;
    let mut count = 0;
    for (index, part) in chain.split(|&byte| byte == b'-').enumerate() {
        let after = position + part.len() + 1;
        if index == 0 && skip_first {
            begin = after;
        } else if is_octet(part) {
            count += 1;
        } else if count >= 4 {
            break;
        } else {
            begin = after;
            count = 0;
        }
        position = after;
    }
    (count >= 4).then(|| (begin, position - 1))
}

pub fn dotted(line: &Line, walls: &[Span], out: &mut Vec<Span>) {
    let text = line.text.data;
    let mut gaps = Gaps::new(walls, text.len());
    let mut names = Names::new();
    let mut gap_low = usize::MAX;
    let mut skipped = 0;
    for place in line.name_dots() {
        if place < skipped {
            continue;
        }
        let (low, high) = match gaps.at(place) {
            Some(gap) => gap,
            None => continue,
        };
        if low != gap_low {
            gap_low = low;
            names = Names::new();
        }
        let data = &text[..high];
        let (start, end, count) = match chain_around(data, low, place, b'.') {
            Some(chain) => chain,
            None => continue,
        };
        skipped = end;
        let may_follow = end < high && (is_label(data[end]) || data[end] == b'.');
        if count != 4 || !may_follow {
            continue;
        }
        if !data[start..end].split(|&byte| byte == b'.').all(is_octet)
            || !names.holds(data, end, line.config)
            || follows_product(data, low, start, line.config)
        {
            continue;
        }
        if names.is_own(data, low, start, line.config) {
            out.push(Span::wall(start, end));
        } else {
            out.push(Span::opaque(start, end, Kind::Name, Form::Dotted));
        }
    }
}

pub fn hex_labels(line: &Line, walls: &[Span], out: &mut Vec<Span>) {
    let text = line.text.data;
    let mut gaps = Gaps::new(walls, text.len());
    for place in line.hex_dots() {
        if place < 8 || !text[place - 8..place].iter().all(|&b| is_hex(b)) {
            continue;
        }
        let (low, high) = match gaps.at(place) {
            Some(gap) => gap,
            None => continue,
        };
        let data = &text[..high];
        let listed = line.config.suffixes.iter().any(|suffix| {
            let end = place + 1 + suffix.len();
            starts_with_any_case(data, place + 1, suffix) && (end >= high || !is_label(data[end]))
        });
        if listed && place >= low + 8 {
            out.push(Span::opaque(place - 8, place, Kind::Name, Form::HexLabel));
        }
    }
}

fn pairs(text: &[u8], separator: u8) -> Option<usize> {
    if text.len() % 3 != 2 {
        return None;
    }
    let fits = text.iter().enumerate().all(|(index, &byte)| {
        if index % 3 == 2 {
            byte == separator
        } else {
            is_hex(byte)
        }
    });
    fits.then(|| (text.len() + 1) / 3)
}

pub fn hardware(line: &Line, walls: &[Span], out: &mut Vec<Span>) {
    colon_pairs(line, walls, out);
    let colons = out.len();
    dash_pairs(line, walls, out);
    if colons > 0 && out.len() > colons {
        out.sort_by_key(|span| span.start);
        // a pair may end one and begin another
        let mut free = 0;
        out.retain(|span| {
            let fits = span.start >= free;
            if fits {
                free = span.end;
            }
            fits
        });
    }
}

fn colon_pairs(line: &Line, walls: &[Span], out: &mut Vec<Span>) {
    let text = line.text.data;
    let mut gaps = Gaps::new(walls, text.len());
    let mut skipped = 0;
    for place in line.pairs() {
        if place < skipped {
            continue;
        }
        let (low, high) = match gaps.at(place) {
            Some(gap) => gap,
            None => continue,
        };
        let data = &text[..high];
        let is_run = |byte: u8| is_hex(byte) || byte == b':';
        let mut start = low + skip_back(&data[low..place], place - low, is_run);
        let mut end = skip(data, place, is_run);
        skipped = end;
        if start > low && is_word(data[start - 1]) {
            start = skip(data, start, is_hex) + 1;
        }
        if end < high && is_word(data[end]) {
            continue;
        }
        if data[end - 1] == b':' {
            end -= 1;
        }
        if start > end {
            continue;
        }
        let count = match pairs(&data[start..end], b':') {
            Some(6) => 6,
            Some(8) => 8,
            Some(14) => 12, // netfilter: two addresses and a type
            _ => continue,
        };
        out.push(Span::opaque(start, start + 3 * count - 1, Kind::Mac, Form::Mac));
    }
}

fn dash_pairs(line: &Line, walls: &[Span], out: &mut Vec<Span>) {
    let text = line.text.data;
    let mut gaps = Gaps::new(walls, text.len());
    let mut skipped = 0;
    for place in line.dashes() {
        if place < skipped {
            continue;
        }
        let (low, high) = match gaps.at(place) {
            Some(gap) => gap,
            None => continue,
        };
        if place < low + 2 || place + 15 > high {
            continue;
        }
        let (start, end) = (place - 2, place + 15);
        if pairs(&text[start..end], b'-') == Some(6)
            && (start == low || !is_label(text[start - 1]))
            && (end == high || !is_label(text[end]))
        {
            skipped = end;
            out.push(Span::opaque(start, end, Kind::Mac, Form::Mac));
        }
    }
}
