//! Times as people say them.

use std::time::{Duration, SystemTime};

use crate::views::HqTime;

/// Whole units, the largest that fits.
pub(crate) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// What time it is at HQ, and how far that is to be believed.
pub(crate) fn hq_time(time: &HqTime) -> String {
    let date = date(time.ms);
    let ago = |ms| span(Duration::from_millis(ms));
    if time.sure {
        let signed = time.signed_ago_ms.map(ago).unwrap_or_default();
        return format!("HQ's time: {date}, signed by HQ {signed} ago");
    }
    let from = match (time.from.as_str(), time.voices) {
        ("median", Some(voices)) => format!("the median of {voices} clocks of the store"),
        ("own_clock", _) => "this machine's own clock".to_owned(),
        _ => "this machine's own clock is wrong, and it is at least so late".to_owned(),
    };
    let since = ago(time.ms.saturating_sub(time.floor_ms));
    format!("HQ's time: {date}, unsure: {from}; the last that HQ signed is {since} before that")
}

/// The year 9999 is the last that has a name.
fn date(ms: u64) -> String {
    const END: u64 = 253_402_300_799_000;
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(ms.min(END));
    httpdate::fmt_http_date(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 1_800_014_400_000;

    fn time(from: &str, sure: bool, floor_ms: u64) -> HqTime {
        let (voices, signed_ago_ms) = (Some(4), Some(3_000));
        HqTime { ms: NOON, sure, from: from.to_owned(), voices, signed_ago_ms, floor_ms }
    }

    #[test]
    fn a_sure_time_says_when_hq_signed_last() {
        assert_eq!(
            hq_time(&time("signed", true, NOON)),
            "HQ's time: Fri, 15 Jan 2027 12:00:00 GMT, signed by HQ 3 s ago"
        );
    }

    #[test]
    fn an_unsure_time_says_what_it_rests_on_and_how_old_hqs_word_is() {
        let says = hq_time(&time("median", false, NOON - 7_200_000));
        let end = "unsure: the median of 4 clocks of the store; the last that HQ signed is 2 h before that";
        assert!(says.ends_with(end), "{says}");
        let says = hq_time(&time("own_clock", false, 0));
        assert!(says.contains("unsure: this machine's own clock;"), "{says}");
        let says = hq_time(&time("floor", false, NOON));
        assert!(says.contains("own clock is wrong"), "{says}");
    }

    #[test]
    fn no_time_that_a_neighbour_tells_is_too_late_to_be_shown() {
        assert!(date(u64::MAX).contains("9999"));
    }
}
