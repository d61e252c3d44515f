//! What is written: bytes behind each other, most of them in short runs.
//!
//! A run is copied with what stands behind it, as many bytes as most runs are short of; the next
//! run covers that. A fixed length needs neither a call nor a branch that would often be guessed
//! wrongly.

/// So many bytes are copied for any run that is not longer.
const LONGEST: usize = 192;

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
        if count <= LONGEST {
            let source = block.get(from..from + LONGEST);
            let target = self.bytes.get_mut(self.length..self.length + LONGEST);
            if let (Some(source), Some(target)) = (source, target) {
                target.copy_from_slice(source);
                self.length += count;
                return;
            }
        }
        self.extend_from_slice(&block[from..to]);
    }

    /// Has something written into so many bytes, of which the first stay: as many as it returns.
    ///
    /// What is written here and not copied to here need not wait until it can be read again.
    #[inline(always)]
    pub fn write<const N: usize>(&mut self, write: impl FnOnce(&mut [u8; N]) -> usize) {
        if self.bytes.len() < self.length + N {
            self.reserve(N);
        }
        let room = &mut self.bytes[self.length..self.length + N];
        if let Ok(room) = room.try_into() {
            self.length += write(room).min(N);
        }
    }
}
