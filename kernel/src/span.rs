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

/// The bytes from `start` to `end`. `address` is of the IP kinds; of the others the value is the
/// text from `start` to `value_end`.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub start: usize,
    pub end: usize,
    pub value_end: usize,
    pub kind: Kind,
    pub form: Form,
    pub address: u128,
}

impl Span {
    pub fn opaque(start: usize, end: usize, kind: Kind, form: Form) -> Self {
        Span { start, end, value_end: end, kind, form, address: 0 }
    }

    pub fn wall(start: usize, end: usize) -> Self {
        Span::opaque(start, end, Kind::Wall, Form::Stays)
    }

    pub fn address(start: usize, end: usize, kind: Kind, form: Form, address: u128) -> Self {
        Span { start, end, value_end: end, kind, form, address }
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

    /// The gap that holds a place; none inside of a wall.
    #[inline(always)]
    pub fn at(&mut self, place: usize) -> Option<(usize, usize)> {
        while self.next < self.walls.len() && self.walls[self.next].end <= place {
            self.low = self.walls[self.next].end;
            self.next += 1;
        }
        let high = match self.walls.get(self.next) {
            None => self.length,
            Some(wall) if wall.start > place => wall.start,
            Some(_) => return None,
        };
        Some((self.low, high))
    }
}
