//! The settings, as records of tag, length and bytes.

use crate::anchors::Anchors;
use crate::blake2s::Keyed;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Truncate,
    Pseudonym,
    Remove,
}

pub const LEAVE_EMAIL: u8 = 1;
pub const LEAVE_PARAMETER: u8 = 2;
pub const LEAVE_PATH: u8 = 4;
pub const LEAVE_CREDENTIAL: u8 = 8;
pub const LEAVE_USER: u8 = 16;
pub const LEAVE_MAC: u8 = 32;
pub const LEAVE_NAME: u8 = 64;

/// The order of `Config::keys` and of the names in tokens.
pub const NAMES: [&[u8]; 10] = [
    b"ip4", b"ip6", b"ip", b"email", b"parameter", b"path", b"credential", b"user", b"mac", b"host",
];

pub struct Config {
    pub mode: Mode,
    pub ipv4_mask: u32,
    pub ipv4_prefix: u32,
    pub ipv6_prefix: u32,
    /// How many octets and groups are kept when a truncated address is cut behind one; else 0.
    pub kept_octets: usize,
    pub kept_groups: usize,
    pub leave: u8,
    pub email_domain: bool,
    pub cut_length: Option<usize>,
    pub key_id: [u8; 6],
    pub keys: Vec<Keyed>,
    pub networks4: Vec<(u32, u32)>,
    pub networks6: Vec<(u128, u128)>,
    pub own_names: Vec<Vec<u8>>,
    pub parameters: Vec<Vec<u8>>,
    parameter_ends: Pairs,
    pub paths: Vec<Vec<u8>>,
    path_heads: Heads,
    pub anchors: Anchors,
    pub products: Vec<Vec<u8>>,
    file_types: Vec<u64>,
    pub mailboxes: Vec<Vec<u8>>,
    pub suffixes: Vec<Vec<u8>>,
    pub oid_roots: Vec<Vec<u16>>,
}

/// A set of pairs of bytes.
struct Pairs(Box<[u64; 1024]>);

impl Pairs {
    fn new() -> Self {
        Pairs(Box::new([0; 1024]))
    }

    fn put(&mut self, first: u8, second: u8) {
        let index = usize::from(first) << 8 | usize::from(second);
        self.0[index >> 6] |= 1 << (index & 63);
    }

    #[inline(always)]
    fn has(&self, first: u8, second: u8) -> bool {
        let index = usize::from(first) << 8 | usize::from(second);
        self.0[index >> 6] >> (index & 63) & 1 != 0
    }
}

/// A set of beginnings of texts, as long as the shortest of them and at most eight bytes, by hash:
/// what is in it is always found, what is not hardly ever.
struct Heads {
    mask: u64,
    hashes: Box<[u64; 64]>,
}

impl Heads {
    fn new(texts: &[Vec<u8>]) -> Self {
        let length = texts.iter().map(|text| text.len().min(8)).min().unwrap_or(8);
        let mask = (1u128 << (8 * length)) as u64;
        let mut heads = Heads { mask: mask.wrapping_sub(1), hashes: Box::new([0; 64]) };
        for text in texts {
            let mut head = [0; 8];
            head[..length].copy_from_slice(&text[..length]);
            let hash = heads.hash(&head);
            heads.hashes[hash >> 6] |= 1 << (hash & 63);
        }
        heads
    }

    #[inline(always)]
    fn hash(&self, text: &[u8; 8]) -> usize {
        let head = u64::from_le_bytes(*text) & self.mask;
        (head.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52) as usize
    }

    #[inline(always)]
    fn may_hold(&self, text: &[u8; 8]) -> bool {
        let hash = self.hash(text);
        self.hashes[hash >> 6] >> (hash & 63) & 1 != 0
    }
}

fn mask4(prefix: u32) -> u32 {
    if prefix == 0 {
        0
    } else {
        u32::MAX << (32 - prefix.min(32))
    }
}

pub fn mask6(prefix: u32) -> u128 {
    if prefix == 0 {
        0
    } else {
        u128::MAX << (128 - prefix.min(128))
    }
}

impl Config {
    /// None when the bytes are not what this version of the kernel understands.
    pub fn parse(mut blob: &[u8]) -> Option<Config> {
        let mut config = Config {
            mode: Mode::Truncate,
            ipv4_mask: 0,
            ipv4_prefix: 0,
            ipv6_prefix: 0,
            kept_octets: 0,
            kept_groups: 0,
            leave: 0,
            email_domain: false,
            cut_length: None,
            key_id: [0; 6],
            keys: Vec::new(),
            networks4: Vec::new(),
            networks6: Vec::new(),
            own_names: Vec::new(),
            parameters: Vec::new(),
            parameter_ends: Pairs::new(),
            paths: Vec::new(),
            path_heads: Heads::new(&[]),
            anchors: Anchors::new(&[], &[]),
            products: Vec::new(),
            file_types: Vec::new(),
            mailboxes: Vec::new(),
            suffixes: Vec::new(),
            oid_roots: Vec::new(),
        };
        while !blob.is_empty() {
            let (tag, value, rest) = record(blob)?;
            config.take(tag, value)?;
            blob = rest;
        }
        if config.mode == Mode::Pseudonym && config.keys.is_empty() {
            return None;
        }
        if config.mode == Mode::Truncate {
            let whole = |prefix: u32, part: u32| if prefix % part == 0 { prefix / part } else { 0 };
            config.kept_octets = whole(config.ipv4_prefix, 8) as usize;
            config.kept_groups = whole(config.ipv6_prefix, 16) as usize;
        }
        config.anchors = Anchors::new(&config.paths, &config.suffixes);
        config.paths.sort_by_key(|path| path.len());
        config.path_heads = Heads::new(&config.paths);
        config.parameters.sort();
        config.file_types.sort();
        Some(config)
    }

    fn take(&mut self, tag: u8, value: &[u8]) -> Option<()> {
        match tag {
            b'm' => {
                self.mode = match value {
                    b"truncate" => Mode::Truncate,
                    b"pseudonym" => Mode::Pseudonym,
                    b"remove" => Mode::Remove,
                    _ => return None,
                }
            }
            b'4' => {
                self.ipv4_prefix = u32::from(*value.first()?);
                self.ipv4_mask = mask4(self.ipv4_prefix);
            }
            b'6' => self.ipv6_prefix = u32::from(*value.first()?),
            b'l' => self.leave = *value.first()?,
            b'd' => self.email_domain = *value.first()? != 0,
            b'c' => {
                self.cut_length = Some(u64::from_le_bytes(value.try_into().ok()?) as usize);
            }
            b'i' => self.key_id = value.try_into().ok()?,
            b'k' => {
                let key: [u8; 32] = value.try_into().ok()?;
                self.keys = NAMES.iter().map(|name| Keyed::new(&key, name)).collect();
            }
            b'n' => {
                let number = u32::from_be_bytes(value.get(..4)?.try_into().ok()?);
                self.networks4.push((number, mask4(u32::from(*value.get(4)?))));
            }
            b'N' => {
                let number = u128::from_be_bytes(value.get(..16)?.try_into().ok()?);
                self.networks6.push((number, mask6(u32::from(*value.get(16)?))));
            }
            b'o' => self.own_names.push(value.to_vec()),
            b'p' => {
                let last = *value.last()?;
                match value.len().checked_sub(2) {
                    Some(index) => self.parameter_ends.put(value[index], last),
                    None => (0..=255).for_each(|any| self.parameter_ends.put(any, last)),
                }
                self.parameters.push(value.to_vec());
            }
            b'/' => {
                value.get(2)?;
                self.paths.push(value.to_vec());
            }
            b'P' => self.products.push(value.to_vec()),
            b'F' => self.file_types.push(packed(value)?),
            b'M' => self.mailboxes.push(value.to_vec()),
            b'S' => self.suffixes.push(value.to_vec()),
            b'O' => self.oid_roots.push(
                value.chunks_exact(2).map(|two| u16::from_le_bytes([two[0], two[1]])).collect(),
            ),
            _ => return None,
        }
        Some(())
    }

    #[inline(always)]
    pub fn ends_parameter(&self, before: u8, last: u8) -> bool {
        self.parameter_ends.has(before.to_ascii_lowercase(), last.to_ascii_lowercase())
    }

    /// Whether eight bytes may begin a path.
    #[inline(always)]
    pub fn may_begin_path(&self, text: &[u8; 8]) -> bool {
        self.path_heads.may_hold(text)
    }

    pub fn leaves(&self, kind: u8) -> bool {
        self.leave & kind != 0
    }

    pub fn is_exempt4(&self, address: u32) -> bool {
        (address & 0x00ff_ffff == 0)
            | self.networks4.iter().any(|&(network, mask)| address & mask == network)
    }

    pub fn is_exempt6(&self, address: u128) -> bool {
        self.networks6.iter().any(|&(network, mask)| address & mask == network)
    }

    pub fn is_file_type(&self, label: &[u8]) -> bool {
        packed(label).map_or(false, |label| self.file_types.binary_search(&label).is_ok())
    }
}

/// Up to eight bytes as a number, in small letters.
fn packed(text: &[u8]) -> Option<u64> {
    let small = text.iter().map(|byte| u64::from(byte.to_ascii_lowercase()));
    (text.len() <= 8).then(|| small.fold(0, |number, byte| number << 8 | byte))
}

/// Whether a list of small-lettered texts holds a text in any case.
pub fn contains(list: &[Vec<u8>], text: &[u8]) -> bool {
    list.iter().any(|each| each.eq_ignore_ascii_case(text))
}

fn record(blob: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let length = u32::from_le_bytes(blob.get(1..5)?.try_into().ok()?) as usize;
    let value = blob.get(5..5usize.checked_add(length)?)?;
    Some((blob[0], value, &blob[5 + length..]))
}
