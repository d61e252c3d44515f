//! Scrubs blocks: piece by piece, line by line again where that is needed, and writes what stays.

use crate::bytes::*;
use crate::config::Config;
use crate::find::{Again, Turn};
use crate::out::Out;
use crate::replace;
use crate::scan::{chosen, Escapes, Instructions, Scan};
use crate::span::{Span, KINDS};
use crate::tokens::Cache;

const MOST_TURNS: usize = 8;
/// So many bytes at once, with all that is found in them, stay in the processor's nearest memory.
const PIECE: usize = 64 << 10;

pub struct Engine {
    config: Config,
    scan: (Scan, Escapes),
    pub counts: [u64; KINDS + 1],
    pub out: Out,
    cache: Cache,
    turns: Vec<Turn>,
}

impl Engine {
    pub fn new(config: Config, instructions: Instructions) -> Self {
        let scan = chosen(instructions);
        let cache = Cache::new(&config, instructions == Instructions::Plain);
        let turns = (0..MOST_TURNS).map(|_| Turn::default()).collect();
        Engine { config, scan, counts: [0; KINDS + 1], out: Out::default(), cache, turns }
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
    fn turn(&mut self, depth: usize, block: &[u8], out: &mut Out) -> usize {
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
        let lines = turn.events.newlines().len() + usize::from(block.last() != Some(&b'\n'));
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
            line.changed = input.as_slice()[length..] != block[line.begin as usize..end];
            if line.changed {
                input.push(b'\n');
            } else {
                input.truncate(length);
            }
        }
        if !input.is_empty() {
            self.turn(depth + 1, input.as_slice(), &mut turn.output);
        }
        turn.input = input;
    }

    fn emit(&mut self, depth: usize, block: &[u8], turn: &Turn, out: &mut Out) {
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
        out: &mut Out,
    ) {
        if depth == 0 {
            self.counts[span.kind as usize] += 1;
        }
        if !span.is_replaced() {
            return;
        }
        let from = *copied;
        let (start, end) = (span.raw_start as usize, span.raw_end as usize);
        *copied = end;
        if span.kept > 0 && depth == 0 && end - start == span.end as usize - span.start as usize {
            out.copy(block, from, start + usize::from(span.kept));
            replace::write_zeros(span, &self.config, out);
            return;
        }
        out.copy(block, from, start);
        let length = out.len();
        replace::write(span, data, &self.config, &mut self.cache, out);
        if depth > 0 && out.as_slice()[length..] != block[start..end] {
            self.counts[span.kind as usize] += 1;
        }
    }
}

/// Writes what stands before a line that was looked at again, and what has become of it.
fn put_line(
    line: &Again,
    block: &[u8],
    copied: usize,
    output: &mut &[u8],
    out: &mut Out,
) -> usize {
    let (begin, end) = (line.begin as usize, line.end as usize);
    out.copy(block, copied, begin);
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
