//! Spans and amounts as people say them, in one style for all answers.

use std::time::Duration;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
/// Up to here seconds are said, then minutes, then hours.
const SECONDS_MAX: u64 = 90;
const HOURS_MIN: u64 = 90 * MINUTE + 1;

/// `12 s`, `4 min`, `30 h`; rounded up, so that nobody is told to wait for nothing.
pub(super) fn span(span: Duration) -> String {
    let seconds = u64::try_from(span.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
    match seconds {
        ..=SECONDS_MAX => format!("{} s", seconds.max(1)),
        HOURS_MIN.. => format!("{} h", seconds.div_ceil(HOUR)),
        _ => format!("{} min", seconds.div_ceil(MINUTE)),
    }
}

/// `0 B`, `12.0 KiB`, `1.2 GiB`.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut whole, mut part, mut unit) = (bytes / 1024, bytes % 1024 * 10 / 1024, 0);
    while whole >= 1024 && unit + 1 < UNITS.len() {
        (whole, part, unit) = (whole / 1024, whole % 1024 * 10 / 1024, unit + 1);
    }
    format!("{whole}.{part} {}", UNITS[unit])
}

/// `1 neighbour`, `3 neighbours`.
pub(super) fn many(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}

/// `a`, `a and b`, `a, b and 3 more`: a line stays a line.
pub(super) fn listed(names: &[String], most: usize) -> String {
    let (shown, more) = names.split_at(names.len().min(most));
    match (shown, more.len()) {
        ([], _) => "nobody".to_owned(),
        (shown, 0) => match shown {
            [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
            _ => shown.join(", "),
        },
        (shown, more) => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_in_the_unit_that_fits_and_never_too_short() {
        let said = |millis| span(Duration::from_millis(millis));
        assert_eq!([said(0), said(400), said(11_001)], ["1 s", "1 s", "12 s"]);
        assert_eq!([said(90_000), said(91_000), said(180_000)], ["90 s", "2 min", "3 min"]);
        assert_eq!(said(5_400_001), "2 h");
    }

    #[test]
    fn amounts_have_one_digit_behind_the_point() {
        let said = [0, 1023, 1024, 1_289_748, (1 << 30) + (1 << 28), u64::MAX].map(bytes);
        assert_eq!(said, ["0 B", "1023 B", "1.0 KiB", "1.2 MiB", "1.2 GiB", "16777215.9 TiB"]);
    }

    #[test]
    fn a_long_list_ends_with_how_many_more() {
        let names: Vec<String> = ["a", "b", "c"].map(str::to_owned).into();
        assert_eq!(listed(&names[..0], 2), "nobody");
        assert_eq!(listed(&names[..1], 2), "a");
        assert_eq!(listed(&names[..2], 2), "a and b");
        assert_eq!(listed(&names, 3), "a, b and c");
        assert_eq!(listed(&names, 2), "a, b and 1 more");
    }
}
