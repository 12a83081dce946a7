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
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "measured: keeps the lexer in registers")]
    pub fn skip_value(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'"') => self.string_span().map(drop),
            Some(b'n') => self.literal(b"null"),
            _ => self.take_with(skip_other),
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "keeps the lexer of `skip_other` in registers")]
    fn skip_scalar(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            Some(b'"') => self.string_span().map(drop),
            Some(b'-' | b'0'..=b'9') => self.number().map(drop),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            Some(b'N') => self.literal(b"NaN"),
            Some(b'I') => self.literal(b"Infinity"),
            _ => Err(self.error(Problem::Expected("a value"))),
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "measured: keeps the lexer in registers")]
    fn skip_key(&mut self) -> Result<(), JsonError> {
        self.string_span()?;
        self.expect(b':', "':'")
    }
}

/// A value that is usually a container: its end.
#[inline(never)]
fn skip_other(text: &str, at: usize) -> Result<((), usize), JsonError> {
    let mut lexer = Lexer::at_byte(text, at);
    let mut levels = Levels { bits: [0; MAX_SKIP_DEPTH / 64], depth: 0 };
    loop {
        // A value starts here.
        match lexer.peek() {
            Some(open @ (b'{' | b'[')) => {
                let object = open == b'{';
                if !levels.push(object) {
                    return Err(lexer.error(Problem::TooDeep));
                }
                lexer.advance();
                if !lexer.take(if object { b'}' } else { b']' }) {
                    if object {
                        lexer.skip_key()?;
                    }
                    continue;
                }
                levels.depth -= 1;
            }
            _ => lexer.skip_scalar()?,
        }
        // A value has ended: close what ends with it, or go on to the next one.
        loop {
            if levels.depth == 0 {
                return Ok(((), lexer.at()));
            }
            let object = levels.in_object();
            let (close, what) = if object { (b'}', "',' or '}'") } else { (b']', "',' or ']'") };
            if lexer.more(close, what)? {
                if object {
                    lexer.skip_key()?;
                }
                break;
            }
            levels.depth -= 1;
        }
    }
}
