//! Steps over a whole value, checking its grammar. Iterative: the nesting lives in a bit stack of fixed size.

use super::{JsonError, Lexer, MAX_SKIP_DEPTH, Problem};

/// Which kind of container each open level is: a set bit is an object.
struct Levels {
    bits: [u64; MAX_SKIP_DEPTH / 64],
    depth: usize,
}

impl Levels {
    fn push(&mut self, object: bool) -> bool {
        let Some(word) = self.bits.get_mut(self.depth / 64) else { return false };
        let mask = 1 << (self.depth % 64);
        *word = if object { *word | mask } else { *word & !mask };
        self.depth += 1;
        true
    }

    fn in_object(&self) -> bool {
        let top = self.depth - 1;
        self.bits[top / 64] >> (top % 64) & 1 == 1
    }
}

impl Lexer<'_> {
    /// Takes one value of any kind and forgets it.
    ///
    /// # Errors
    /// If it is not JSON, or nested deeper than [`MAX_SKIP_DEPTH`].
    #[inline]
    pub fn skip_value(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'n') => self.literal(b"null"),
            Some(b'{' | b'[') => self.skip_container(),
            _ => self.skip_scalar(),
        }
    }

    fn skip_scalar(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.number().map(drop),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            Some(b'N') => self.literal(b"NaN"),
            Some(b'I') => self.literal(b"Infinity"),
            _ => Err(self.error(Problem::Expected("a value"))),
        }
    }

    fn skip_container(&mut self) -> Result<(), JsonError> {
        let mut levels = Levels { bits: [0; MAX_SKIP_DEPTH / 64], depth: 0 };
        loop {
            // A value starts here.
            match self.peek() {
                Some(open @ (b'{' | b'[')) => {
                    let object = open == b'{';
                    if !levels.push(object) {
                        return Err(self.error(Problem::TooDeep));
                    }
                    self.advance();
                    if !self.take(if object { b'}' } else { b']' }) {
                        if object {
                            self.skip_key()?;
                        }
                        continue;
                    }
                    levels.depth -= 1;
                }
                _ => self.skip_scalar()?,
            }
            // A value has ended: close what ends with it, or go on to the next one.
            loop {
                if levels.depth == 0 {
                    return Ok(());
                }
                let object = levels.in_object();
                if self.take(b',') {
                    if object {
                        self.skip_key()?;
                    }
                    break;
                }
                if object {
                    self.expect(b'}', "',' or '}'")?;
                } else {
                    self.expect(b']', "',' or ']'")?;
                }
                levels.depth -= 1;
            }
        }
    }

    fn skip_key(&mut self) -> Result<(), JsonError> {
        self.string()?;
        self.expect(b':', "':'")
    }
}
