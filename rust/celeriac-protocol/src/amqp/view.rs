//! A field table read where it stands: no copies, no objects.
//!
//! For the two readers on the way of every message: the scan, and the conversion to Python's objects. What is skipped is
//! skipped by its length, so nesting costs nothing and cannot overflow a stack here; who goes down counts the levels.

use super::wire::WireError;

/// A value of a table, as it stands in the bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum View<'a> {
    /// `V`
    Void,
    /// `t`
    Bool(bool),
    /// `b B s U u I i l L`
    Int(i64),
    /// `f d`
    Float(f64),
    /// `D`: digits after the point, and the number without it
    Decimal(u8, i32),
    /// `S`: text, if it is UTF-8
    Str(&'a [u8]),
    /// `x`
    Bytes(&'a [u8]),
    /// `T`: seconds since the epoch
    Timestamp(u64),
    /// `A`
    Array(Fields<'a>),
    /// `F`
    Table(Fields<'a>),
}

/// The content of a table or an array, without its length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fields<'a> {
    data: &'a [u8],
    at: usize,
    /// Where `data` starts in the bytes that offsets count from.
    base: usize,
}

impl<'a> Fields<'a> {
    /// The members in `data`, which starts at `base` of something larger: errors and [`Fields::at`] count from there.
    #[must_use]
    pub fn new(data: &'a [u8], base: usize) -> Self {
        Self { data, at: 0, base }
    }

    /// Where it stands.
    #[must_use]
    pub fn at(&self) -> usize {
        self.base + self.at
    }

    /// The next name and value of a table; `None` at its end.
    ///
    /// # Errors
    /// The data ends within them, or the value's type is unknown.
    pub fn field(&mut self) -> Result<Option<(&'a [u8], View<'a>)>, WireError> {
        if self.at == self.data.len() {
            return Ok(None);
        }
        let length = usize::from(self.array::<1>()?[0]);
        let name = self.take(length)?;
        Ok(Some((name, self.view()?)))
    }

    /// The next member of an array; `None` at its end.
    ///
    /// # Errors
    /// The data ends within it, or its type is unknown.
    pub fn member(&mut self) -> Result<Option<View<'a>>, WireError> {
        if self.at == self.data.len() { Ok(None) } else { self.view().map(Some) }
    }

    fn view(&mut self) -> Result<View<'a>, WireError> {
        let at = self.at();
        Ok(match self.array::<1>()?[0] {
            b'V' => View::Void,
            b't' => View::Bool(self.array::<1>()?[0] != 0),
            b'b' => View::Int(i8::from_be_bytes(self.array()?).into()),
            b'B' => View::Int(self.array::<1>()?[0].into()),
            b's' | b'U' => View::Int(i16::from_be_bytes(self.array()?).into()),
            b'u' => View::Int(u16::from_be_bytes(self.array()?).into()),
            b'I' => View::Int(i32::from_be_bytes(self.array()?).into()),
            b'i' => View::Int(u32::from_be_bytes(self.array()?).into()),
            b'l' | b'L' => View::Int(i64::from_be_bytes(self.array()?)),
            b'f' => View::Float(f32::from_be_bytes(self.array()?).into()),
            b'd' => View::Float(f64::from_be_bytes(self.array()?)),
            b'D' => View::Decimal(self.array::<1>()?[0], i32::from_be_bytes(self.array()?)),
            b'S' => View::Str(self.long()?.0),
            b'x' => View::Bytes(self.long()?.0),
            b'T' => View::Timestamp(u64::from_be_bytes(self.array()?)),
            b'A' => {
                let (data, base) = self.long()?;
                View::Array(Self::new(data, base))
            }
            b'F' => {
                let (data, base) = self.long()?;
                View::Table(Self::new(data, base))
            }
            _ => return Err(WireError { what: "a value of unknown type", at }),
        })
    }

    fn long(&mut self) -> Result<(&'a [u8], usize), WireError> {
        let length = u32::from_be_bytes(self.array()?);
        let base = self.at();
        let length = usize::try_from(length).map_err(|_| self.ends())?;
        Ok((self.take(length)?, base))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        self.take(N)?.try_into().map_err(|_| self.ends())
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let rest = &self.data[self.at..];
        let taken = rest.get(..count).ok_or_else(|| self.ends())?;
        self.at += count;
        Ok(taken)
    }

    fn ends(&self) -> WireError {
        WireError { what: "the data ends before its field does", at: self.at() }
    }
}
