//! What is written: bytes behind each other, most of them in short runs.
//!
//! A run is copied in pieces of a fixed length, of which the last may take along what stands behind
//! it; the next run covers that. So most runs need no call of a function that looks at lengths.

const PIECE: usize = 32;
/// Runs that are longer are copied at once.
const LONGEST: usize = 8 * PIECE;

#[derive(Default)]
pub struct Out {
    /// Longer than what has been written.
    bytes: Vec<u8>,
    length: usize,
}

impl Out {
    pub fn clear(&mut self) {
        self.length = 0;
    }

    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    /// Makes room for so many bytes.
    pub fn reserve(&mut self, count: usize) {
        let needed = self.length + count + LONGEST;
        if needed > self.bytes.len() {
            self.bytes.resize(needed + needed / 8, 0);
        }
    }

    pub fn push(&mut self, byte: u8) {
        self.extend_from_slice(&[byte]);
    }

    pub fn extend_from_slice(&mut self, part: &[u8]) {
        self.reserve(part.len());
        self.bytes[self.length..self.length + part.len()].copy_from_slice(part);
        self.length += part.len();
    }

    /// Writes what stands in a block between two places.
    #[inline(always)]
    pub fn copy(&mut self, block: &[u8], from: usize, to: usize) {
        let count = to - from;
        let whole = (count + PIECE - 1) / PIECE * PIECE;
        if count <= LONGEST {
            let source = block.get(from..from + whole);
            let target = self.bytes.get_mut(self.length..self.length + whole);
            if let (Some(source), Some(target)) = (source, target) {
                let pieces = target.chunks_exact_mut(PIECE).zip(source.chunks_exact(PIECE));
                pieces.for_each(|(target, source)| target.copy_from_slice(source));
                self.length += count;
                return;
            }
        }
        self.extend_from_slice(&block[from..to]);
    }

    /// Writes the first bytes of a text of fixed length.
    #[inline(always)]
    pub fn short<const N: usize>(&mut self, text: &[u8; N], count: usize) {
        if self.bytes.len() < self.length + N {
            self.reserve(N);
        }
        self.bytes[self.length..self.length + N].copy_from_slice(text);
        self.length += count.min(N);
    }
}
