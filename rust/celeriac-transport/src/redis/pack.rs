//! Commands as bytes, ready to be sent in one write.

use super::script::Script;

/// Arguments of one command.
#[derive(Debug, Default, Clone)]
pub(crate) struct Args {
    bytes: Vec<u8>,
    count: usize,
}

impl Args {
    /// Begins with the command's name.
    pub(crate) fn new(name: &str) -> Self {
        let mut args = Self::default();
        args.add(name);
        args
    }

    pub(crate) fn add(&mut self, arg: impl AsRef<[u8]>) -> &mut Self {
        let arg = arg.as_ref();
        number(&mut self.bytes, b'$', arg.len());
        self.bytes.extend_from_slice(arg);
        self.bytes.extend_from_slice(b"\r\n");
        self.count += 1;
        self
    }

    /// One argument made of several pieces.
    pub(crate) fn join(&mut self, pieces: &[&[u8]]) -> &mut Self {
        number(&mut self.bytes, b'$', pieces.iter().map(|piece| piece.len()).sum());
        for piece in pieces {
            self.bytes.extend_from_slice(piece);
        }
        self.bytes.extend_from_slice(b"\r\n");
        self.count += 1;
        self
    }

    pub(crate) fn int(&mut self, value: impl Into<i128>) -> &mut Self {
        self.add(value.into().to_string())
    }

    /// The arguments of `other`, with their number in front: how a script is told a command.
    pub(crate) fn nested(&mut self, other: &Self) -> &mut Self {
        self.int(other.count as u64);
        self.bytes.extend_from_slice(&other.bytes);
        self.count += other.count;
        self
    }

    /// The arguments of `other`.
    pub(crate) fn append(&mut self, other: &Self) -> &mut Self {
        self.bytes.extend_from_slice(&other.bytes);
        self.count += other.count;
        self
    }

    /// Whether it is the command of this name.
    pub(crate) fn is(&self, name: &str) -> bool {
        let behind = self.bytes.iter().position(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        self.bytes[behind..].starts_with(name.as_bytes())
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }
}

/// Commands in their order.
#[derive(Debug, Default)]
pub(crate) struct Pack {
    bytes: Vec<u8>,
    /// Where each begins, and the script that it runs.
    commands: Vec<(usize, Option<&'static Script>)>,
}

impl Pack {
    pub(crate) fn one(args: &Args) -> Self {
        let mut pack = Self::default();
        pack.push(args);
        pack
    }

    pub(crate) fn push(&mut self, args: &Args) -> &mut Self {
        self.put(args.count, None, &[&args.bytes])
    }

    /// `words` is a command without arguments of unusual bytes.
    pub(crate) fn words(&mut self, words: &[&str]) -> &mut Self {
        let mut args = Args::default();
        for word in words {
            args.add(word);
        }
        self.push(&args)
    }

    /// Runs `script`.
    pub(crate) fn run(&mut self, script: &'static Script, keys: &Args, args: &Args) -> &mut Self {
        let mut head = Args::new("EVALSHA");
        head.add(script.sha()).int(keys.count as u64);
        self.put(3 + keys.count + args.count, Some(script), &[&head.bytes, &keys.bytes, &args.bytes])
    }

    fn put(&mut self, count: usize, script: Option<&'static Script>, parts: &[&[u8]]) -> &mut Self {
        self.commands.push((self.bytes.len(), script));
        number(&mut self.bytes, b'*', count);
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn len(&self) -> usize {
        self.commands.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// The bytes of one command, with the text of the script that it runs in the place of its name.
    pub(crate) fn told(&self, at: usize) -> Option<Vec<u8>> {
        let script = self.commands.get(at).and_then(|(_, script)| *script)?;
        let command = self.command(at);
        let count = command.iter().position(|&byte| byte == b'\n')? + 1;
        let (mut named, mut told) = (Args::new("EVALSHA"), Args::new("EVAL"));
        named.add(script.sha());
        told.add(script.text);
        Some([&command[..count], &told.bytes, command.get(count + named.bytes.len()..)?].concat())
    }

    /// The bytes of one command.
    pub(crate) fn command(&self, at: usize) -> &[u8] {
        let end = self.commands.get(at + 1).map_or(self.bytes.len(), |(start, _)| *start);
        self.commands.get(at).map_or(&[], |(start, _)| &self.bytes[*start..end])
    }
}

fn number(bytes: &mut Vec<u8>, kind: u8, value: usize) {
    bytes.push(kind);
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    let mut rest = value;
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    bytes.extend_from_slice(&digits[at..]);
    bytes.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_packed_as_the_protocol_wants() {
        let mut pack = Pack::default();
        pack.words(&["PING"]);
        let mut set = Args::new("SET");
        set.add(b"k\r\n").int(12_u64);
        pack.push(&set);
        assert_eq!(pack.command(0), b"*1\r\n$4\r\nPING\r\n");
        assert_eq!(pack.command(1), b"*3\r\n$3\r\nSET\r\n$3\r\nk\r\n\r\n$2\r\n12\r\n");
        assert_eq!((pack.len(), pack.bytes().len()), (2, pack.command(0).len() + pack.command(1).len()));
    }

    #[test]
    fn a_script_is_told_with_the_same_keys_and_arguments() {
        let (mut keys, mut args) = (Args::default(), Args::default());
        keys.add("k");
        args.add("a");
        let mut pack = Pack::default();
        pack.words(&["PING"]).run(&super::super::script::SOFT, &keys, &args);
        let text = super::super::script::SOFT.text;
        let told = format!("*5\r\n$4\r\nEVAL\r\n${}\r\n{text}\r\n$1\r\n1\r\n$1\r\nk\r\n$1\r\na\r\n", text.len());
        assert_eq!(pack.told(1), Some(told.into_bytes()));
        assert_eq!(pack.told(0), None);
    }

    #[test]
    fn a_command_for_a_script_has_its_length_in_front() {
        let mut args = Args::default();
        args.nested(Args::new("DEL").add("k")).join(&[b"a", b"", b"bc"]);
        assert_eq!(args.bytes, b"$1\r\n2\r\n$3\r\nDEL\r\n$1\r\nk\r\n$3\r\nabc\r\n");
        assert_eq!(args.count(), 4);
    }
}
