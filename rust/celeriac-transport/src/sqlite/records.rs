//! Stored results: key, value, expiry, and whether it is a success, which nothing overwrites.
//!
//! Keys are mostly `celery-task-meta-<uuid>`: 53 bytes, twice in the file. They are stored as one byte and the uuid's
//! 16, which makes the index a third of the size; random keys touch a random page of it each.

use bytes::Bytes;
use celeriac_protocol::ResultWrite;
use rusqlite::OptionalExtension;

use super::connection::Db;
use super::fault::Fault;
use super::machine::wall_ms;
use super::notify::Wakes;

const COMMON: &str = "celery-task-meta-";

/// Stores in order; leaves successes alone. Returns how many were stored.
pub(crate) fn put(db: &Db, wakes: &mut Wakes, writes: &[ResultWrite]) -> Result<usize, Fault> {
    let mut stored = 0;
    for write in writes {
        let mut upsert = db.sql.prepare_cached(
            "INSERT INTO result (key, expires_ms, success, value) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (key) DO UPDATE SET expires_ms = ?2, success = ?3, value = ?4 \
             WHERE success = 0 OR expires_ms <= ?5",
        )?;
        stored +=
            upsert.execute((&packed(&write.key)[..], write.expires_ms, write.success, &write.value[..], wall_ms()))?;
        wakes.results = true;
    }
    Ok(stored)
}

/// The value under `key`, unless it has expired.
pub(crate) fn get(db: &Db, key: &str) -> Result<Option<Bytes>, Fault> {
    let mut select =
        db.sql.prepare_cached("SELECT value FROM result WHERE key = ?1 AND (expires_ms IS NULL OR expires_ms > ?2)")?;
    let value = select.query_row((&packed(key)[..], wall_ms()), |row| row.get::<_, Vec<u8>>(0)).optional()?;
    Ok(value.map(Bytes::from))
}

/// False if there is none.
pub(crate) fn delete(db: &Db, key: &str) -> Result<bool, Fault> {
    Ok(db.sql.prepare_cached("DELETE FROM result WHERE key = ?1")?.execute([&packed(key)[..]])? > 0)
}

/// Drops at most `most` expired ones; returns how many.
pub(crate) fn expire(db: &Db, most: i64) -> Result<usize, Fault> {
    let mut delete = db.sql.prepare_cached(
        "DELETE FROM result WHERE id IN (SELECT id FROM result WHERE expires_ms <= ?1 ORDER BY expires_ms LIMIT ?2)",
    )?;
    Ok(delete.execute([wall_ms(), most])?)
}

/// `\x01` and 16 bytes for a common key, `\x00` and the text for any other.
fn packed(key: &str) -> Vec<u8> {
    if let Some(id) = key.strip_prefix(COMMON).and_then(uuid_bytes) {
        let mut bytes = Vec::with_capacity(17);
        bytes.push(1);
        bytes.extend_from_slice(&id);
        return bytes;
    }
    let mut bytes = Vec::with_capacity(key.len() + 1);
    bytes.push(0);
    bytes.extend_from_slice(key.as_bytes());
    bytes
}

/// The bytes of a uuid in its usual form; `None` for any other text, so that two texts never have the same bytes.
fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    let text: &[u8; 36] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0_u8; 16];
    let mut nibbles = 0;
    for (at, &byte) in text.iter().enumerate() {
        if matches!(at, 8 | 13 | 18 | 23) {
            if byte != b'-' {
                return None;
            }
            continue;
        }
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        bytes[nibbles / 2] = bytes[nibbles / 2] << 4 | digit;
        nibbles += 1;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::packed;

    #[test]
    fn only_the_usual_form_is_packed_and_no_two_keys_meet() {
        let usual = "celery-task-meta-0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";
        assert_eq!(packed(usual)[..3], [1, 0x0a, 0x1b]);
        assert_eq!(packed(usual).len(), 17);
        for other in [
            "celery-task-meta-0A1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9",
            "celery-task-meta-0a1b2c3d4-e5f-6071-8293-a4b5c6d7e8f9",
            "celery-taskset-meta-0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9",
            "celery-task-meta-my-own-id",
            "",
        ] {
            assert_eq!(packed(other)[0], 0, "{other}");
            assert_eq!(&packed(other)[1..], other.as_bytes());
        }
    }
}
