//! BLAKE2s (RFC 7693): keyed with a digest of eight bytes, and without a key with one of six.

const IV: [u32; 8] = [
    0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab,
    0x5be0_cd19,
];
const SIGMA: [[usize; 16]; 10] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
    [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
    [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
    [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
    [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
    [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
    [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
    [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
    [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
];
const DIGEST: u32 = 8;
const SHORT_DIGEST: u32 = 6;
/// So many digests are made at once.
pub const LANES: usize = 8;

/// The state after the block that holds the key, for one `person` of up to eight bytes.
#[derive(Clone, Copy)]
pub struct Keyed([u32; 8]);

impl Keyed {
    pub fn new(key: &[u8; 32], person: &[u8]) -> Self {
        let mut name = [0u8; 8];
        for (to, from) in name.iter_mut().zip(person) {
            *to = *from;
        }
        let mut state = IV;
        state[0] ^= 0x0101_0000 ^ (32 << 8) ^ DIGEST;
        state[6] ^= u32::from_le_bytes([name[0], name[1], name[2], name[3]]);
        state[7] ^= u32::from_le_bytes([name[4], name[5], name[6], name[7]]);
        let mut block = [0u8; 64];
        block[..32].copy_from_slice(key);
        compress(&mut state, &block, 64, false);
        Keyed(state)
    }

    /// The digest of a value that is not empty, its first byte as the most significant.
    pub fn digest(&self, value: &[u8]) -> u64 {
        finish(self.0, 64, value)
    }

    /// Whether this processor makes several digests at once.
    pub fn has_lanes() -> bool {
        #[cfg(target_arch = "x86_64")]
        return is_x86_feature_detected!("avx2");
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// The digests of the first `count` values of `length` bytes, given as words of memory; the
    /// rest is unspecified. `has_lanes` must have said that it can.
    pub fn digests(&self, values: &[[u32; 4]; LANES], length: u64, count: usize) -> [u64; LANES] {
        let mut digests = [0; LANES];
        #[cfg(target_arch = "x86_64")]
        if count > 2 && Keyed::has_lanes() {
            // SAFETY: the processor has AVX2.
            return unsafe { lanes::digests(&self.0, values, 64 + length) };
        }
        for (digest, value) in digests.iter_mut().zip(values).take(count) {
            let mut bytes = [0u8; 16];
            for (to, word) in bytes.chunks_exact_mut(4).zip(value) {
                to.copy_from_slice(&word.to_le_bytes());
            }
            *digest = self.digest(&bytes[..length as usize]);
        }
        digests
    }
}

/// The digest of six bytes without a key, its first byte as the most significant.
pub fn number(value: &[u8]) -> u64 {
    let mut state = IV;
    state[0] ^= 0x0101_0000 ^ SHORT_DIGEST;
    finish(state, 0, value) >> 16
}

/// The first eight bytes of a digest, after a state that has taken in `count` bytes.
fn finish(mut state: [u32; 8], mut count: u64, value: &[u8]) -> u64 {
    let mut rest = value;
    while rest.len() > 64 {
        let mut block = [0u8; 64];
        block.copy_from_slice(&rest[..64]);
        count += 64;
        compress(&mut state, &block, count, false);
        rest = &rest[64..];
    }
    let mut block = [0u8; 64];
    block[..rest.len()].copy_from_slice(rest);
    compress(&mut state, &block, count + rest.len() as u64, true);
    joined(state[0], state[1])
}

fn joined(first: u32, second: u32) -> u64 {
    u64::from(first.swap_bytes()) << 32 | u64::from(second.swap_bytes())
}

fn compress(state: &mut [u32; 8], block: &[u8; 64], count: u64, last: bool) {
    let mut words = [0u32; 16];
    for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
        *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    let mut v = [0u32; 16];
    v[..8].copy_from_slice(state);
    v[8..].copy_from_slice(&IV);
    v[12] ^= count as u32;
    v[13] ^= (count >> 32) as u32;
    if last {
        v[14] = !v[14];
    }
    for sigma in &SIGMA {
        mix(&mut v, 0, 4, 8, 12, words[sigma[0]], words[sigma[1]]);
        mix(&mut v, 1, 5, 9, 13, words[sigma[2]], words[sigma[3]]);
        mix(&mut v, 2, 6, 10, 14, words[sigma[4]], words[sigma[5]]);
        mix(&mut v, 3, 7, 11, 15, words[sigma[6]], words[sigma[7]]);
        mix(&mut v, 0, 5, 10, 15, words[sigma[8]], words[sigma[9]]);
        mix(&mut v, 1, 6, 11, 12, words[sigma[10]], words[sigma[11]]);
        mix(&mut v, 2, 7, 8, 13, words[sigma[12]], words[sigma[13]]);
        mix(&mut v, 3, 4, 9, 14, words[sigma[14]], words[sigma[15]]);
    }
    for index in 0..8 {
        state[index] ^= v[index] ^ v[index + 8];
    }
}

#[inline(always)]
fn mix(v: &mut [u32; 16], a: usize, b: usize, c: usize, d: usize, x: u32, y: u32) {
    v[a] = v[a].wrapping_add(v[b]).wrapping_add(x);
    v[d] = (v[d] ^ v[a]).rotate_right(16);
    v[c] = v[c].wrapping_add(v[d]);
    v[b] = (v[b] ^ v[c]).rotate_right(12);
    v[a] = v[a].wrapping_add(v[b]).wrapping_add(y);
    v[d] = (v[d] ^ v[a]).rotate_right(8);
    v[c] = v[c].wrapping_add(v[d]);
    v[b] = (v[b] ^ v[c]).rotate_right(7);
}

#[cfg(target_arch = "x86_64")]
mod lanes {
    use super::{joined, IV, LANES, SIGMA};
    use std::arch::x86_64::*;

    /// The last blocks of eight messages at once; each lane of a vector is a word of one.
    #[target_feature(enable = "avx2")]
    pub unsafe fn digests(
        state: &[u32; 8],
        values: &[[u32; 4]; LANES],
        count: u64,
    ) -> [u64; LANES] {
        let mut lanes = [[0u32; LANES]; 2];
        // SAFETY: called where there is AVX2; what is stored has the size of a vector.
        unsafe {
            let all = |word: u32| _mm256_set1_epi32(word as i32);
            let mut words = [_mm256_setzero_si256(); 16];
            for index in 0..4 {
                let lane = values.map(|value| value[index]);
                words[index] = _mm256_loadu_si256(lane.as_ptr().cast());
            }
            let mut v = [_mm256_setzero_si256(); 16];
            for index in 0..8 {
                v[index] = all(state[index]);
                v[index + 8] = all(IV[index]);
            }
            v[12] = _mm256_xor_si256(v[12], all(count as u32));
            v[14] = _mm256_xor_si256(v[14], all(u32::MAX));
            let near = _mm256_setr_epi8(
                1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12, 1, 2, 3, 0, 5, 6, 7, 4, 9,
                10, 11, 8, 13, 14, 15, 12,
            );
            let half = _mm256_setr_epi8(
                2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13, 2, 3, 0, 1, 6, 7, 4, 5, 10,
                11, 8, 9, 14, 15, 12, 13,
            );
            macro_rules! rotated {
                ($x:expr, $right:literal) => {
                    _mm256_or_si256(
                        _mm256_srli_epi32::<$right>($x),
                        _mm256_slli_epi32::<{ 32 - $right }>($x),
                    )
                };
            }
            macro_rules! mix {
                ($a:literal, $b:literal, $c:literal, $d:literal, $x:expr, $y:expr) => {
                    v[$a] = _mm256_add_epi32(_mm256_add_epi32(v[$a], v[$b]), $x);
                    v[$d] = _mm256_shuffle_epi8(_mm256_xor_si256(v[$d], v[$a]), half);
                    v[$c] = _mm256_add_epi32(v[$c], v[$d]);
                    let b = _mm256_xor_si256(v[$b], v[$c]);
                    v[$b] = rotated!(b, 12);
                    v[$a] = _mm256_add_epi32(_mm256_add_epi32(v[$a], v[$b]), $y);
                    v[$d] = _mm256_shuffle_epi8(_mm256_xor_si256(v[$d], v[$a]), near);
                    v[$c] = _mm256_add_epi32(v[$c], v[$d]);
                    let b = _mm256_xor_si256(v[$b], v[$c]);
                    v[$b] = rotated!(b, 7);
                };
            }
            for sigma in &SIGMA {
                mix!(0, 4, 8, 12, words[sigma[0]], words[sigma[1]]);
                mix!(1, 5, 9, 13, words[sigma[2]], words[sigma[3]]);
                mix!(2, 6, 10, 14, words[sigma[4]], words[sigma[5]]);
                mix!(3, 7, 11, 15, words[sigma[6]], words[sigma[7]]);
                mix!(0, 5, 10, 15, words[sigma[8]], words[sigma[9]]);
                mix!(1, 6, 11, 12, words[sigma[10]], words[sigma[11]]);
                mix!(2, 7, 8, 13, words[sigma[12]], words[sigma[13]]);
                mix!(3, 4, 9, 14, words[sigma[14]], words[sigma[15]]);
            }
            for index in 0..2 {
                let word =
                    _mm256_xor_si256(all(state[index]), _mm256_xor_si256(v[index], v[index + 8]));
                _mm256_storeu_si256(lanes[index].as_mut_ptr().cast(), word);
            }
        }
        let mut digests = [0; LANES];
        for (index, digest) in digests.iter_mut().enumerate() {
            *digest = joined(lanes[0][index], lanes[1][index]);
        }
        digests
    }
}
