//! Options of a transport, from a URL's query and from the caller's table, as texts.

use std::collections::BTreeMap;

/// Option name to its text. A name in the URL wins over the same name in the table.
pub type Options = BTreeMap<String, String>;

/// `url` without its password, for logs and errors.
#[must_use]
pub fn redacted(url: &str) -> String {
    let Some(at) = url.find("://") else { return url.to_owned() };
    let rest = &url[at + 3..];
    let authority = rest.find('/').map_or(rest, |end| &rest[..end]);
    match authority.rfind('@').and_then(|end| authority[..end].find(':').map(|colon| (colon, end))) {
        Some((colon, end)) => format!("{}{}:**{}", &url[..at + 3], &authority[..colon], &rest[end..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::redacted;

    #[test]
    fn passwords_are_hidden_and_everything_else_stays() {
        assert_eq!(redacted("redis://:s3cret@cache:6379/0"), "redis://:**@cache:6379/0");
        assert_eq!(redacted("amqp://me:p@ss@host/v"), "amqp://me:**@host/v");
        assert_eq!(redacted("sqlite:////var/lib/a@b:c.db"), "sqlite:////var/lib/a@b:c.db");
        assert_eq!(redacted("nonsense"), "nonsense");
    }
}
