//! What a rule finds, and the stretches of text between what earlier rules have found.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    Ipv4,
    Ipv6,
    Malformed,
    Email,
    Parameter,
    Path,
    Credential,
    User,
    Mac,
    Name,
    Exempt,
    Wall,
}
pub const KINDS: usize = 11;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    Quad,
    Decimal,
    Hexadecimal,
    Mapped,
    Groups,
    MalformedQuad,
    MalformedGroups,
    Dotted,
    Dashed,
    HexLabel,
    Mac,
    Opaque,
    Stays,
}

/// The bytes from `start` to `end` of decoded text, `raw_start` to `raw_end` of the block.
/// The first `kept` bytes are as they would be written, and nothing but zeros follows them then; 0
/// when that is not so or not known. The number is of the IP kinds; of the others the value is the text from `start` to `value_end`.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub start: u32,
    pub end: u32,
    pub raw_start: u32,
    pub raw_end: u32,
    pub value_end: u32,
    pub kind: Kind,
    pub form: Form,
    pub kept: u8,
    high: u64,
    low: u64,
}

impl Span {
    #[inline(always)]
    pub fn address(start: usize, end: usize, kind: Kind, form: Form, address: u128) -> Self {
        let (start, end) = (start as u32, end as u32);
        Span {
            start,
            end,
            raw_start: start,
            raw_end: end,
            value_end: end,
            kind,
            form,
            kept: 0,
            high: (address >> 64) as u64,
            low: address as u64,
        }
    }

    #[inline(always)]
    pub fn opaque(start: usize, end: usize, kind: Kind, form: Form) -> Self {
        Span::address(start, end, kind, form, 0)
    }

    pub fn wall(start: usize, end: usize) -> Self {
        Span::opaque(start, end, Kind::Wall, Form::Stays)
    }

    /// The address as 128 bits, or as the last 32 of them.
    #[inline(always)]
    pub fn number(&self) -> u128 {
        u128::from(self.high) << 64 | u128::from(self.low)
    }

    #[inline(always)]
    pub fn is_replaced(&self) -> bool {
        self.form != Form::Stays
    }
}

/// Walks along the gaps between walls as places are asked for in ascending order.
pub struct Gaps<'a> {
    walls: &'a [Span],
    next: usize,
    low: usize,
    length: usize,
}

impl<'a> Gaps<'a> {
    pub fn new(walls: &'a [Span], length: usize) -> Self {
        Gaps { walls, next: 0, low: 0, length }
    }

    /// How many walls end before the place that was asked for last.
    #[inline(always)]
    pub fn passed(&self) -> usize {
        self.next
    }

    /// Goes behind the next wall when it ends before a place.
    #[inline(always)]
    fn step(&mut self, place: usize) -> bool {
        let end = self.walls.get(self.next).map_or(usize::MAX, |wall| wall.end as usize);
        let is_before = end <= place;
        self.low = if is_before { end } else { self.low };
        self.next += usize::from(is_before);
        is_before
    }

    /// The gap that holds a place; none inside of a wall.
    #[inline(always)]
    pub fn at(&mut self, place: usize) -> Option<(usize, usize)> {
        // whether there is a wall between two places cannot be guessed, but there are hardly ever two
        self.step(place);
        while self.step(place) {}
        let high = match self.walls.get(self.next) {
            None => self.length,
            Some(wall) if wall.start as usize > place => wall.start as usize,
            Some(_) => return None,
        };
        Some((self.low, high))
    }
}
