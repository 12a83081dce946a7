//! ISO 8601 dates as `dateutil.parser.isoparse` reads them, which is what Celery does with `eta` and `expires`.

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    /// Milliseconds since the epoch, rounded down; without an offset in the text, as if it were UTC.
    pub unix_ms: i64,
    /// The text had no offset.
    pub naive: bool,
}

/// The date that `text` names: `YYYY`, `YYYY-MM`, `YYYY-MM-DD` or `YYYYMMDD`, ISO weeks (`YYYY-Www[-D]`), days of the
/// year (`YYYY-DDD`), then optionally any one ASCII character and a time with or without colons, fraction (`.` or `,`; digits
/// beyond microseconds are dropped) and offset (`Z`, `+hh`, `+hhmm`, `+hh:mm`). `24:00` is the next day's midnight.
///
/// Two differences, both of forms that nobody writes: hours, minutes and seconds have two digits (dateutil takes one, or
/// one and a blank), and a week without a day may be followed by a time.
#[must_use]
pub fn parse(text: &str) -> Option<Date> {
    let mut chars = Cursor { bytes: text.as_bytes(), at: 0 };
    let days = chars.date()?;
    if chars.rest().is_empty() {
        return Some(Date { unix_ms: days * 86_400_000, naive: true });
    }
    // The separator is any character that is not a digit.
    chars.rest().first().filter(|byte| byte.is_ascii() && !byte.is_ascii_digit())?;
    chars.at += 1;
    let (time_us, offset_s) = chars.time()?;
    let naive = offset_s.is_none();
    in_range(days + time_us / 86_400_000_000)?; // 24:00 of the last day
    let local_s = days * 86_400 + time_us.div_euclid(1_000_000);
    let unix_s = local_s - offset_s.unwrap_or(0);
    Some(Date { unix_ms: unix_s * 1000 + time_us.rem_euclid(1_000_000) / 1000, naive })
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or(&[])
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.rest().first() == Some(&byte);
        self.at += usize::from(found);
        found
    }

    /// Exactly `count` digits.
    fn digits(&mut self, count: usize) -> Option<i64> {
        let digits = self.rest().get(..count)?;
        let mut value = 0;
        for digit in digits {
            if !digit.is_ascii_digit() {
                return None;
            }
            value = value * 10 + i64::from(digit - b'0');
        }
        self.at += count;
        Some(value)
    }

    /// Days since the epoch.
    fn date(&mut self) -> Option<i64> {
        let year = self.digits(4).filter(|year| *year >= 1)?;
        if self.rest().is_empty() {
            return days_from_civil(year, 1, 1);
        }
        let dashed = self.take(b'-');
        if self.take(b'W') {
            return self.week(year, dashed);
        }
        // Three digits and no more: a day of the year. `-DDD` at the end or before a separator; `MM-DD` has its dash.
        let run = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        if run == 3 {
            let day = self.digits(3)?;
            let length = if is_leap(year) { 366 } else { 365 };
            return if (1..=length).contains(&day) { Some(days_from_civil(year, 1, 1)? + day - 1) } else { None };
        }
        let month = self.digits(2)?;
        if self.rest().is_empty() {
            return if dashed { days_from_civil(year, month, 1) } else { None };
        }
        if dashed && !self.take(b'-') {
            return None;
        }
        let day = self.digits(2)?;
        days_from_civil(year, month, day)
    }

    fn week(&mut self, year: i64, dashed: bool) -> Option<i64> {
        let week = self.digits(2).filter(|week| (1..=53).contains(week))?;
        let mut day = 1;
        if !self.rest().is_empty() {
            let has_day = self.rest().first() == Some(&b'-') || self.rest()[0].is_ascii_digit();
            if has_day {
                if dashed != self.take(b'-') {
                    return None;
                }
                day = self.digits(1).filter(|day| (1..=7).contains(day))?;
            }
        }
        // Week 1 holds January 4th.
        let fourth = days_from_civil(year, 1, 4)?;
        let monday = fourth - weekday(fourth);
        let days = monday + (week - 1) * 7 + day - 1;
        in_range(days)
    }

    /// Microseconds of the day, and the offset in seconds.
    fn time(&mut self) -> Option<(i64, Option<i64>)> {
        if self.rest().is_empty() {
            return None;
        }
        let hour = self.digits(2)?;
        let mut parts = [hour, 0, 0];
        let mut micros = 0;
        let colons = self.rest().first() == Some(&b':');
        for part in &mut parts[1..] {
            if self.at_zone() || self.rest().is_empty() {
                break;
            }
            if colons && !self.take(b':') {
                return None;
            }
            *part = self.digits(2)?;
        }
        if matches!(self.rest().first(), Some(b'.' | b',')) {
            self.at += 1;
            let count = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
            if count == 0 {
                return None;
            }
            let kept = count.min(6);
            micros = self.digits(kept)? * 10_i64.pow(u32::try_from(6 - kept).ok()?);
            self.at += count - kept;
        }
        let [hour, minute, second] = parts;
        if hour == 24 {
            if minute != 0 || second != 0 || micros != 0 {
                return None;
            }
        } else if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let offset = self.zone()?;
        self.rest().is_empty().then_some((((hour * 60 + minute) * 60 + second) * 1_000_000 + micros, offset))
    }

    fn at_zone(&self) -> bool {
        matches!(self.rest().first(), Some(b'Z' | b'z' | b'+' | b'-'))
    }

    /// `Some(None)` without an offset, `None` for a wrong one.
    #[expect(clippy::option_option, reason = "absent and wrong are different answers, used on the spot")]
    fn zone(&mut self) -> Option<Option<i64>> {
        if self.rest().is_empty() {
            return Some(None);
        }
        if self.take(b'Z') || self.take(b'z') {
            return Some(Some(0));
        }
        let sign = if self.take(b'-') {
            -1
        } else if self.take(b'+') {
            1
        } else {
            return None;
        };
        let hours = self.digits(2)?;
        let mut minutes = 0;
        if !self.rest().is_empty() {
            self.take(b':');
            minutes = self.digits(2)?;
        }
        (hours <= 23 && minutes <= 59).then_some(Some(sign * (hours * 3600 + minutes * 60)))
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days since the epoch of a date of the Gregorian calendar; `None` if there is no such date.
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => return None,
    };
    if !(1..=length).contains(&day) || !(1..=9999).contains(&year) {
        return None;
    }
    // Years that begin in March, so that the leap day is the last; eras of 400 years.
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let year_of_era = shifted.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

/// Monday is 0.
fn weekday(days: i64) -> i64 {
    (days + 3).rem_euclid(7)
}

/// Python's dates end with the year 9999 and begin with the year 1.
fn in_range(days: i64) -> Option<i64> {
    (-719_162..=2_932_896).contains(&days).then_some(days)
}
