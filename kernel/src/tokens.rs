//! Tokens of addresses that have occurred, so that each is made once in a while only.
//!
//! The memory is bounded: an address may push out another of its row.

use crate::blake2s::{Keyed, LANES};
use crate::config::{Config, Mode};
use crate::span::{Kind, Span};

const NAT64: u128 = 0x0064_ff9b << 96;
const ROW_BITS: u32 = 16;
const FILLED: u64 = 1 << 32;

/// The address that a token is made from (NAT64, RFC 6052, is its IPv4), and which name it has.
#[derive(Clone, Copy)]
enum Address {
    V4(u32),
    V6(u64, u64),
}

/// One line of the processor's cache: four addresses, of which the first came last.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Row4 {
    address: [u64; 4],
    digest: [u64; 4],
}

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Row6 {
    high: [u64; 2],
    low: [u64; 2],
    digest: [u64; 2],
}

pub struct Cache {
    lanes: bool,
    four: Vec<Row4>,
    six: Vec<Row6>,
    missed4: Vec<u32>,
    missed6: Vec<(u64, u64)>,
}

impl Cache {
    pub fn new(config: &Config, portable: bool) -> Self {
        let rows = if config.mode == Mode::Pseudonym { 1 << ROW_BITS } else { 0 };
        Cache {
            lanes: rows > 0 && !portable && Keyed::has_lanes(),
            four: vec![Row4 { address: [0; 4], digest: [0; 4] }; rows],
            six: vec![Row6 { high: [0; 2], low: [0; 2], digest: [0; 2] }; rows],
            missed4: Vec::new(),
            missed6: Vec::new(),
        }
    }

    /// Makes the tokens of all addresses that are not known, several at once where the processor
    /// can.
    pub fn warm(&mut self, spans: &[Span], config: &Config) {
        if !self.lanes {
            return;
        }
        for span in spans {
            match address_of(span) {
                Some(Address::V4(address)) => {
                    let row = &mut self.four[row_of(u64::from(address))];
                    if row.find(address).is_none() {
                        row.put(address, 0);
                        self.missed4.push(address);
                        if self.missed4.len() == LANES {
                            self.make4(config);
                        }
                    }
                }
                // an address of zeros only cannot be told from an empty place
                Some(Address::V6(high, low)) if high | low != 0 => {
                    let row = &mut self.six[row_of(high ^ low)];
                    if row.find(high, low).is_none() {
                        row.put(high, low, 0);
                        self.missed6.push((high, low));
                        if self.missed6.len() == LANES {
                            self.make6(config);
                        }
                    }
                }
                _ => {}
            }
        }
        self.make4(config);
        self.make6(config);
    }

    fn make4(&mut self, config: &Config) {
        let mut values = [[0u32; 4]; LANES];
        for (value, address) in values.iter_mut().zip(&self.missed4) {
            value[0] = address.swap_bytes();
        }
        let digests = config.keys[0].digests(&values, 4, self.missed4.len());
        for (&address, digest) in self.missed4.iter().zip(digests) {
            self.four[row_of(u64::from(address))].set(address, digest);
        }
        self.missed4.clear();
    }

    fn make6(&mut self, config: &Config) {
        let mut values = [[0u32; 4]; LANES];
        for (value, &(high, low)) in values.iter_mut().zip(&self.missed6) {
            *value = [(high >> 32) as u32, high as u32, (low >> 32) as u32, low as u32]
                .map(u32::swap_bytes);
        }
        let digests = config.keys[1].digests(&values, 16, self.missed6.len());
        for (&(high, low), digest) in self.missed6.iter().zip(digests) {
            self.six[row_of(high ^ low)].set(high, low, digest);
        }
        self.missed6.clear();
    }

    /// The digest of an address, and the index of the name that its token has.
    #[inline(always)]
    pub fn digest(&mut self, span: &Span, config: &Config) -> Option<(usize, u64)> {
        match address_of(span)? {
            Address::V4(address) => {
                let row = &mut self.four[row_of(u64::from(address))];
                let digest = row.find(address).unwrap_or_else(|| {
                    let digest = config.keys[0].digest(&address.to_be_bytes());
                    row.put(address, digest);
                    digest
                });
                Some((0, digest))
            }
            Address::V6(high, low) => {
                let row = &mut self.six[row_of(high ^ low)];
                let known = if high | low == 0 { None } else { row.find(high, low) };
                let digest = known.unwrap_or_else(|| {
                    let address = u128::from(high) << 64 | u128::from(low);
                    let digest = config.keys[1].digest(&address.to_be_bytes());
                    row.put(high, low, digest);
                    digest
                });
                Some((1, digest))
            }
        }
    }
}

#[inline(always)]
fn address_of(span: &Span) -> Option<Address> {
    match span.kind {
        Kind::Ipv4 => Some(Address::V4(span.number() as u32)),
        Kind::Ipv6 => {
            let number = span.number();
            Some(if number >> 32 == NAT64 >> 32 {
                Address::V4(number as u32)
            } else {
                Address::V6((number >> 64) as u64, number as u64)
            })
        }
        _ => None,
    }
}

#[inline(always)]
fn row_of(address: u64) -> usize {
    (address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - ROW_BITS)) as usize
}

impl Row4 {
    #[inline(always)]
    fn place(&self, address: u32) -> Option<usize> {
        let wanted = u64::from(address) | FILLED;
        self.address.iter().position(|&each| each == wanted)
    }

    #[inline(always)]
    fn find(&self, address: u32) -> Option<u64> {
        self.place(address).map(|place| self.digest[place])
    }

    fn put(&mut self, address: u32, digest: u64) {
        self.address.copy_within(..3, 1);
        self.digest.copy_within(..3, 1);
        self.address[0] = u64::from(address) | FILLED;
        self.digest[0] = digest;
    }

    fn set(&mut self, address: u32, digest: u64) {
        if let Some(place) = self.place(address) {
            self.digest[place] = digest;
        }
    }
}

impl Row6 {
    #[inline(always)]
    fn place(&self, high: u64, low: u64) -> Option<usize> {
        (0..2).find(|&place| self.high[place] == high && self.low[place] == low)
    }

    #[inline(always)]
    fn find(&self, high: u64, low: u64) -> Option<u64> {
        self.place(high, low).map(|place| self.digest[place])
    }

    fn put(&mut self, high: u64, low: u64, digest: u64) {
        (self.high[1], self.low[1], self.digest[1]) = (self.high[0], self.low[0], self.digest[0]);
        (self.high[0], self.low[0], self.digest[0]) = (high, low, digest);
    }

    fn set(&mut self, high: u64, low: u64, digest: u64) {
        if let Some(place) = self.place(high, low) {
            self.digest[place] = digest;
        }
    }
}
