//! Whether this machine's clock can be right.
//!
//! A clock behind what HQ signed last is wrong. One that is ahead shows where a running node is sure
//! of HQ's time, or when it is past what HQ signed for the future.

use std::time::Duration;

use storemesh_host::clock::wall;

use super::{Finding, facts::Facts};
use crate::words;

const CHECK: &str = "clock";
/// Two machines that are kept right differ by less.
const TOLERANCE: Duration = Duration::from_mins(2);
/// No build of this program is older; an empty clock battery shows 1970 or 2000.
const YEAR_MIN: u64 = 2025;
/// As long as a terminal is used; beyond it somebody mistyped a year.
const YEAR_MAX: u64 = 2060;
const MS_OF_YEAR: u64 = 31_556_952_000;
const FIX: &str = "timedatectl set-ntp true";

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let (now, joined) = (wall().0, facts.joined.as_ref());
    let least = joined.map(|joined| joined.least_ms);
    let until = joined.map(|joined| joined.certificate_until_ms);
    vec![judge(now, least, until, joined.is_some_and(|joined| joined.sure))]
}

/// `now` and the others in milliseconds since 1970; `least` is HQ's time, where a running node is
/// `sure` of it, or the last that HQ signed.
fn judge(now: u64, least: Option<u64>, until: Option<u64>, sure: bool) -> Finding {
    let year = 1970 + now / MS_OF_YEAR;
    if !(YEAR_MIN..=YEAR_MAX).contains(&year) {
        return Finding::fail(CHECK, format!("this machine believes that it is {year}"), FIX);
    }
    let tolerance = u64::try_from(TOLERANCE.as_millis()).unwrap_or(u64::MAX);
    if let Some(least) = least {
        if now + tolerance < least {
            let says = format!("the clock is {} behind HQ's time", said(least - now));
            return Finding::fail(CHECK, says, FIX);
        }
        if sure && least + tolerance < now {
            let ahead = said(now - least);
            let says = format!("the clock is {ahead} ahead of HQ's time");
            return Finding::warn(CHECK, says, FIX);
        }
    }
    if let Some(until) = until.filter(|until| *until <= now) {
        let says = format!(
            "by this clock the terminal's certificate ended {} ago: HQ did not renew it, or the \
             clock is ahead",
            said(now - until)
        );
        return Finding::warn(CHECK, says, FIX);
    }
    match least {
        Some(_) => Finding::ok(CHECK, "not behind HQ's time"),
        None => Finding::ok(CHECK, format!("it is {year}; HQ's time is not known here")),
    }
}

fn said(ms: u64) -> String {
    words::span(Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::{super::Outcome, *};

    const NOW: u64 = 1_800_000_000_000; // In January 2027.
    const HOUR: u64 = 3_600_000;

    fn outcome(now: u64, least: Option<u64>, sure: bool) -> Outcome {
        judge(now, least, Some(NOW + 100 * HOUR), sure).outcome
    }

    #[test]
    fn a_clock_of_another_age_fails() {
        for year in [1970, 2000, 2024, 2099] {
            let now = (year - 1970) * MS_OF_YEAR + HOUR;
            let finding = judge(now, None, None, false);
            assert_eq!(finding.outcome, Outcome::Fail, "{year}");
            assert!(finding.says.contains(&year.to_string()), "{}", finding.says);
        }
        assert_eq!(outcome(NOW, None, false), Outcome::Ok);
    }

    #[test]
    fn a_clock_behind_what_hq_signed_fails_beyond_the_tolerance() {
        assert_eq!(outcome(NOW, Some(NOW + 60_000), false), Outcome::Ok);
        let behind = judge(NOW, Some(NOW + 3 * HOUR), None, false);
        assert_eq!(behind.outcome, Outcome::Fail);
        assert_eq!(behind.says, "the clock is 3 h behind HQ's time");
        assert_eq!(behind.fix.as_deref(), Some(FIX));
    }

    #[test]
    fn a_clock_ahead_of_a_time_that_hq_signed_just_now_is_a_warning() {
        assert_eq!(outcome(NOW, Some(NOW - HOUR), true), Outcome::Warn);
        assert_eq!(
            outcome(NOW, Some(NOW - HOUR), false),
            Outcome::Ok,
            "the last that HQ signed may be old"
        );
    }

    #[test]
    fn a_certificate_that_has_ended_may_be_the_clocks_doing() {
        let finding = judge(NOW, Some(NOW - HOUR), Some(NOW - 50 * 24 * HOUR), false);
        assert_eq!(finding.outcome, Outcome::Warn);
        assert!(finding.says.contains("ended 50 days ago"), "{}", finding.says);
    }
}
