//! What a `sqlite:` or `memory:` URL says: where the store is and how it is to be used.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::contract::TransportError;
use crate::options::{known_somewhere, percent_decoded, seconds, truth};
use crate::{Options, redacted};

/// Where a store lives. Two handles with equal places share one connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Place {
    /// An absolute path, symlinks resolved as far as it exists.
    File(PathBuf),
    /// A name within this process.
    Memory(String),
}

/// A parsed URL with its options.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) place: Place,
    /// fsync at each commit: survives a power cut, not only a crash.
    pub(crate) full_sync: bool,
    /// How long a worker's consumer waits for another process's lock before it says that the broker is away.
    pub(crate) busy_timeout: Duration,
    /// How long a worker may be silent before its deliveries are given to others.
    pub(crate) lease: Duration,
    /// Largest message or result.
    pub(crate) max_bytes: usize,
    /// Open the file although its file system is a network one.
    pub(crate) allow_network_fs: bool,
}

const NAMES: [&str; 6] =
    ["allow_network_fs", "busy_timeout", "lease", "max_message_bytes", "synchronous", "visibility_timeout"];

impl Settings {
    /// Reads `url`; `table` has options under those that the URL's query gives.
    pub(crate) fn parse(url: &str, table: &Options) -> Result<Self, TransportError> {
        let wrong = |why: String| TransportError::Config(format!("broker URL '{}': {why}", redacted(url)));
        let (body, query) = url.split_once('?').unwrap_or((url, ""));
        let place = place_of(body).map_err(wrong)?;
        let mut named: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in table {
            if NAMES.contains(&name.as_str()) {
                named.insert(name.clone(), value.clone());
            } else if !known_somewhere(name) {
                return Err(wrong(unknown(name)));
            }
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let Some((name, value)) = pair.split_once('=') else {
                return Err(wrong(format!("option '{pair}' has no value: write '{pair}=…'")));
            };
            if !NAMES.contains(&name) {
                return Err(wrong(unknown(name)));
            }
            named.insert(name.to_owned(), percent_decoded(value).map_err(wrong)?);
        }
        let mut settings = Self {
            place,
            full_sync: false,
            busy_timeout: Duration::from_secs(5),
            lease: Duration::from_secs(60),
            max_bytes: 64 << 20,
            allow_network_fs: false,
        };
        for (name, value) in &named {
            settings.apply(name, value).map_err(wrong)?;
        }
        Ok(settings)
    }

    fn apply(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "synchronous" => match value.to_ascii_lowercase().as_str() {
                "normal" => self.full_sync = false,
                "full" => self.full_sync = true,
                _ => return Err(format!("synchronous is 'normal' or 'full', not '{value}'")),
            },
            "busy_timeout" => self.busy_timeout = seconds(name, value, 0.001, 3600.0)?,
            // The SQLite transport's name is `lease`; Celery's name for the same thing is accepted.
            "lease" | "visibility_timeout" => self.lease = seconds(name, value, 0.1, 30.0 * 86400.0)?,
            "max_message_bytes" => {
                self.max_bytes = value
                    .parse()
                    .ok()
                    .filter(|bytes| (1..=1_000_000_000).contains(bytes))
                    .ok_or_else(|| format!("max_message_bytes is a number from 1 to 1000000000, not '{value}'"))?;
            }
            "allow_network_fs" => self.allow_network_fs = truth(name, value)?,
            _ => return Err(unknown(name)),
        }
        Ok(())
    }
}

fn unknown(name: &str) -> String {
    format!("unknown option '{name}': there are {}", NAMES.join(", "))
}

fn place_of(body: &str) -> Result<Place, String> {
    if let Some(name) = body.strip_prefix("memory://") {
        let name = name.trim_end_matches('/');
        if name.contains('/') {
            return Err(format!("'{name}' is not a name: write 'memory://' or 'memory://name'"));
        }
        return Ok(Place::Memory(name.to_owned()));
    }
    let Some(rest) = body.strip_prefix("sqlite://") else {
        return Err(
            "it has no '//': write 'sqlite:///relative.db', 'sqlite:////absolute/path.db' or 'memory://'".into()
        );
    };
    let Some(path) = rest.strip_prefix('/') else {
        let hint = if rest.is_empty() { "celeriac.db" } else { rest };
        return Err(format!(
            "a file has no host: write 'sqlite:///{hint}' for a path relative to the working directory"
        ));
    };
    let path = percent_decoded(path)?;
    if path.is_empty() || path.ends_with('/') {
        return Err("it names no file: write 'sqlite:///relative.db' or 'sqlite:////absolute/path.db'".into());
    }
    if path == ":memory:" {
        return Err("for a store without a file write 'memory://'".into());
    }
    if path.contains('\0') {
        return Err("a path cannot hold a zero byte".into());
    }
    absolute(Path::new(&path)).map(Place::File)
}

/// One path for one file, so that all handles of this process meet at one connection.
fn absolute(path: &Path) -> Result<PathBuf, String> {
    let full = std::path::absolute(path).map_err(|error| format!("no working directory: {error}"))?;
    if let Ok(real) = full.canonicalize() {
        return Ok(real);
    }
    match (full.parent().and_then(|folder| folder.canonicalize().ok()), full.file_name()) {
        (Some(folder), Some(name)) => Ok(folder.join(name)),
        _ => Ok(full),
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, Settings};
    use crate::Options;
    use crate::contract::TransportError;
    use std::time::Duration;

    fn parse(url: &str) -> Result<Settings, TransportError> {
        Settings::parse(url, &Options::new())
    }

    #[test]
    fn three_slashes_are_relative_and_four_absolute() {
        let here = std::env::current_dir().unwrap().canonicalize().unwrap();
        assert_eq!(parse("sqlite:///a.db").unwrap().place, Place::File(here.join("a.db")));
        assert_eq!(parse("sqlite:////tmp/x%20y.db").unwrap().place, Place::File("/tmp/x y.db".into()));
        assert_eq!(parse("memory://").unwrap().place, Place::Memory(String::new()));
        assert_eq!(parse("memory://t1/").unwrap().place, Place::Memory("t1".into()));
    }

    #[test]
    fn options_come_from_query_and_table_and_the_query_wins() {
        let table = Options::from([("lease".into(), "9".into()), ("max_retries".into(), "3".into())]);
        let settings = Settings::parse("sqlite:///a.db?synchronous=FULL&lease=0.5&busy_timeout=2", &table).unwrap();
        assert!(settings.full_sync);
        assert_eq!(settings.lease, Duration::from_millis(500));
        assert_eq!(settings.busy_timeout, Duration::from_secs(2));
    }

    #[test]
    fn wrong_urls_say_what_to_write() {
        for (url, hint) in [
            ("sqlite://a.db", "sqlite:///a.db"),
            ("sqlite:a.db", "sqlite:///relative.db"),
            ("sqlite://", "sqlite:///celeriac.db"),
            ("sqlite:///", "names no file"),
            ("sqlite:////tmp/", "names no file"),
            ("sqlite:///:memory:", "memory://"),
            ("memory://a/b", "memory://name"),
            ("sqlite:///a.db?sync=full", "unknown option 'sync'"),
            ("sqlite:///a.db?synchronous=off", "'normal' or 'full'"),
            ("sqlite:///a.db?lease=-1", "number of seconds"),
            ("sqlite:///a.db?lease=nan", "number of seconds"),
            ("sqlite:///a.db?lease", "has no value"),
            ("sqlite:///a%zz.db", "%25"),
            ("sqlite:///a.db?max_message_bytes=0", "1000000000"),
        ] {
            match parse(url) {
                Err(TransportError::Config(text)) => assert!(text.contains(hint), "{url}: {text}"),
                other => panic!("{url}: {other:?}"),
            }
        }
    }
}
