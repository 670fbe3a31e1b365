//! Why a release runs here, or does not yet.

use std::time::Duration;

use super::{
    Answer, Question,
    gateway::Way,
    words::{bytes, listed, many, span},
};

/// Neighbours named in one line.
const NAMED_MAX: usize = 3;

/// What the installer and the swarm know of one product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) product: String,
    pub(super) wanted: Option<String>,
    pub(super) running: Option<String>,
    /// A file of what runs was found to be damaged.
    pub(super) damaged: bool,
    pub(super) step: Step,
}

/// Where the wanted release is on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing is under way.
    None,
    Checking,
    Manifest(Option<Lacking>),
    Staging,
    Fetching {
        bytes_have: u64,
        bytes_total: u64,
        lacking: Option<Lacking>,
    },
    Activating,
    /// How much is lacking, where, and what to do.
    NoRoom(String),
    Failed {
        why: String,
        again_in: Duration,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Lacking {
    pub(super) chunks_have: u32,
    pub(super) chunks_total: u32,
    /// Not asked of anybody, and held by nobody but HQ.
    pub(super) only_hq: u32,
    /// Not asked of anybody, and held by a neighbour.
    pub(super) held: u32,
    pub(super) asked_hq: bool,
    pub(super) asked: Vec<String>,
    /// Who holds something of it and is not asked for now.
    pub(super) resting: Vec<String>,
    pub(super) asks_hq_in: Option<Duration>,
    pub(super) hq_rests_for: Option<Duration>,
}

/// `way` is how far the way to HQ goes.
pub(super) fn answer(facts: &Facts, way: &Way) -> Answer {
    let product = &facts.product;
    let question = Question::Release(product.clone());
    let well = |code, text| Answer::well(question.clone(), code, text);
    let waits = |code, text| Answer::waits(question.clone(), code, text);
    let Some(wanted) = &facts.wanted else {
        return match &facts.running {
            Some(running) => {
                let text =
                    format!("release {product} {running} runs, and HQ has asked for no other");
                well("release.runs", text)
            }
            None => unknown(product, &[], way),
        };
    };
    let release = format!("release {product} {wanted}");
    match &facts.step {
        Step::None if facts.running.as_ref() == Some(wanted) && !facts.damaged => {
            well("release.runs", format!("{release} runs"))
        }
        Step::None => waits(
            "release.starting",
            format!("{release}: the node has just started and looks at what its disk holds"),
        ),
        Step::Checking => {
            let mending =
                if facts.damaged { "a file of it is damaged and is mended: " } else { "" };
            waits(
                "release.checking",
                format!("{release}: {mending}the disk is searched for what it holds of it"),
            )
        }
        Step::Manifest(None) => {
            waits("release.manifest", format!("{release}: its list of files is being read"))
        }
        Step::Manifest(Some(lacking)) => {
            let at = format!("{release}: its list of files is at {}", far(lacking));
            on_its_way(question, &at, lacking, way)
        }
        Step::Staging => {
            let text = format!("{release}: what earlier releases hold of it is being copied");
            waits("release.staging", text)
        }
        Step::Fetching { bytes_have, bytes_total, lacking: Some(lacking) } => {
            let mending = if facts.damaged { ", mending a damaged file," } else { "" };
            let (here, all) = (bytes(*bytes_have), bytes(*bytes_total));
            let at = format!("{release}{mending} is at {} ({here} of {all})", far(lacking));
            on_its_way(question, &at, lacking, way)
        }
        Step::Fetching { lacking: None, .. } | Step::Activating => {
            let text = format!("{release} is here whole: it is synced to the disk and switched to");
            waits("release.activating", text)
        }
        Step::NoRoom(why) => {
            Answer::wrong(question, "release.no_room", format!("{release} has no room: {why}"))
        }
        Step::Failed { why, again_in } => {
            let again = span(*again_in);
            let text =
                format!("{release} cannot be installed: {why}; it is tried again in {again}");
            Answer::wrong(question, "release.failed", text)
        }
    }
}

/// No product at all is wanted or runs.
pub(super) fn none(way: &Way) -> Answer {
    match way {
        Way::Open(_) => {
            let text = "HQ has asked for no release yet".to_owned();
            Answer::well(Question::Store, "release.none", text)
        }
        Way::Broken(why) => {
            let text = format!("this terminal has not heard of any release: {why}");
            Answer::wrong(Question::Store, "release.not_heard", text)
        }
    }
}

/// HQ has asked for no release of `product`, as far as this terminal has heard.
pub(super) fn unknown(product: &str, known: &[String], way: &Way) -> Answer {
    let known = if known.is_empty() {
        String::new()
    } else {
        format!(" (it has asked for {})", listed(known, NAMED_MAX))
    };
    let question = Question::Release(product.to_owned());
    match way {
        Way::Open(_) => {
            let text = format!(
                "HQ has asked for no release of {product}{known}: `storemesh-hq release start` does"
            );
            Answer::wrong(question, "release.not_wanted", text)
        }
        Way::Broken(why) => {
            let text = format!(
                "this terminal has not heard that HQ wants a release of {product}{known}: {why}"
            );
            Answer::wrong(question, "release.not_heard", text)
        }
    }
}

fn far(lacking: &Lacking) -> String {
    format!("{} of {} chunks", lacking.chunks_have, lacking.chunks_total)
}

fn on_its_way(question: Question, at: &str, lacking: &Lacking, way: &Way) -> Answer {
    let waits = |code, text| Answer::waits(question.clone(), code, text);
    if lacking.asked_hq || !lacking.asked.is_empty() {
        let mut from = lacking.asked.clone();
        if lacking.asked_hq {
            from.insert(0, "HQ".to_owned());
        }
        return waits(
            "release.fetching",
            format!("{at}: more comes from {}", listed(&from, NAMED_MAX)),
        );
    }
    if lacking.only_hq == 0 {
        return if lacking.held > 0 && !lacking.resting.is_empty() {
            let who = listed(&lacking.resting, NAMED_MAX);
            let text = format!(
                "{at}: what lacks is held by {who}, at rest after trouble (`storemesh why neighbour` tells)"
            );
            waits("release.sources_rest", text)
        } else {
            waits("release.fetching", format!("{at}: more is being asked for"))
        };
    }
    let count = usize::try_from(lacking.only_hq).unwrap_or(usize::MAX);
    let chunks = many(count, "chunk");
    if let Some(left) = lacking.hq_rests_for {
        let text = format!("{at}: HQ did not deliver, and is asked again in {}", span(left));
        return Answer::wrong(question, "release.hq_fails", text);
    }
    if let Some(left) = lacking.asks_hq_in {
        let text = format!(
            "{at}: the neighbours are asked first what they hold, HQ in {} at the latest",
            span(left)
        );
        return waits("release.asks_around", text);
    }
    match way {
        Way::Open(by) => {
            let text = format!("{at}: {chunks} that no terminal here holds come by way of {by}");
            waits("release.waits_for_gateway", text)
        }
        Way::Broken(why) => {
            let text =
                format!("{at}: waiting for HQ for {chunks} that no terminal here holds: {why}");
            Answer::wrong(question, "release.waits_for_hq", text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Way {
        Way::Open("the gateway till-1".to_owned())
    }

    fn broken() -> Way {
        Way::Broken("this terminal holds the lease and does not reach HQ".to_owned())
    }

    fn facts(step: Step) -> Facts {
        let (wanted, running) = (Some("2.1".to_owned()), Some("2.0".to_owned()));
        Facts { product: "pos".to_owned(), wanted, running, damaged: false, step }
    }

    fn code(step: Step) -> &'static str {
        answer(&facts(step), &open()).code
    }

    fn lacking() -> Lacking {
        Lacking { chunks_have: 43, chunks_total: 120, only_hq: 77, ..Lacking::default() }
    }

    fn fetching(lacking: Lacking, way: &Way) -> Answer {
        let (bytes_have, bytes_total) = (3 << 20, 9 << 20);
        let lacking = Some(lacking);
        answer(&facts(Step::Fetching { bytes_have, bytes_total, lacking }), way)
    }

    #[test]
    fn what_runs_is_well() {
        let mut facts = facts(Step::None);
        facts.running = facts.wanted.clone();
        let answer = answer(&facts, &open());
        assert_eq!((answer.code, answer.is_well()), ("release.runs", true));
        assert_eq!(answer.text, "release pos 2.1 runs");
        assert_eq!(answer.question.to_string(), "release pos");
    }

    #[test]
    fn what_runs_though_hq_has_asked_for_nothing_is_well_too() {
        let answer = answer(&Facts { wanted: None, ..facts(Step::None) }, &broken());
        assert_eq!((answer.code, answer.is_well()), ("release.runs", true));
    }

    #[test]
    fn every_step_of_the_way_has_its_answer() {
        assert_eq!(code(Step::None), "release.starting");
        assert_eq!(code(Step::Checking), "release.checking");
        assert_eq!(code(Step::Manifest(None)), "release.manifest");
        assert_eq!(code(Step::Staging), "release.staging");
        assert_eq!(code(Step::Activating), "release.activating");
        let whole = Step::Fetching { bytes_have: 9, bytes_total: 9, lacking: None };
        assert_eq!(code(whole), "release.activating");
    }

    #[test]
    fn what_comes_says_from_whom() {
        let asked = vec!["till-1".to_owned(), "till-2".to_owned()];
        let answer = fetching(Lacking { asked_hq: true, asked, ..lacking() }, &open());
        assert_eq!(answer.code, "release.fetching");
        assert_eq!(
            answer.text,
            "release pos 2.1 is at 43 of 120 chunks (3.0 MiB of 9.0 MiB): more comes from HQ, \
             till-1 and till-2"
        );
    }

    #[test]
    fn what_only_hq_has_comes_by_the_gateway() {
        let answer = fetching(lacking(), &open());
        assert_eq!((answer.code, answer.is_wrong()), ("release.waits_for_gateway", false));
        assert!(
            answer.text.ends_with(
                "77 chunks that no terminal here holds come by way of the gateway till-1"
            )
        );
    }

    #[test]
    fn without_hq_the_answer_names_why_it_is_not_reached() {
        let answer = fetching(lacking(), &broken());
        assert_eq!((answer.code, answer.is_wrong()), ("release.waits_for_hq", true));
        assert!(answer.text.contains("is at 43 of 120 chunks"), "{}", answer.text);
        assert!(answer.text.ends_with("does not reach HQ"), "{}", answer.text);
        let manifest = answer_of_manifest();
        assert!(manifest.text.contains("its list of files is at 43 of 120 chunks"));
    }

    fn answer_of_manifest() -> Answer {
        answer(&facts(Step::Manifest(Some(lacking()))), &broken())
    }

    #[test]
    fn the_gateway_says_that_it_asks_around_or_that_hq_does_not_deliver() {
        let second = Some(Duration::from_secs(2));
        let around = fetching(Lacking { asks_hq_in: second, ..lacking() }, &open());
        assert_eq!(around.code, "release.asks_around");
        let rests = fetching(Lacking { hq_rests_for: second, ..lacking() }, &open());
        assert_eq!((rests.code, rests.is_wrong()), ("release.hq_fails", true));
    }

    #[test]
    fn neighbours_at_rest_are_named() {
        let resting = vec!["till-3".to_owned()];
        let held = Lacking { only_hq: 0, held: 77, resting, ..lacking() };
        let answer = fetching(held.clone(), &open());
        assert_eq!(answer.code, "release.sources_rest");
        assert!(answer.text.contains("held by till-3"), "{}", answer.text);
        let busy = fetching(Lacking { resting: Vec::new(), ..held }, &open());
        assert_eq!(busy.code, "release.fetching");
    }

    #[test]
    fn a_failure_says_why_and_when_it_is_tried_again() {
        let why = "disk full: the release needs 900 MiB, 12 MiB are free".to_owned();
        let failed = Step::Failed { why, again_in: Duration::from_secs(40) };
        let answer = answer(&facts(failed), &open());
        assert_eq!((answer.code, answer.is_wrong()), ("release.failed", true));
        assert_eq!(
            answer.text,
            "release pos 2.1 cannot be installed: disk full: the release needs 900 MiB, 12 MiB are \
             free; it is tried again in 40 s"
        );
    }

    #[test]
    fn damage_is_named_while_it_is_mended() {
        let answer = answer(&Facts { damaged: true, ..facts(Step::Checking) }, &open());
        assert!(answer.text.contains("a file of it is damaged"), "{}", answer.text);
    }

    #[test]
    fn a_product_that_hq_never_asked_for_leads_to_hq_or_to_the_broken_way_there() {
        let known = ["kiosk".to_owned()];
        let asked = unknown("pos", &known, &open());
        assert_eq!(asked.code, "release.not_wanted");
        assert!(asked.text.contains("(it has asked for kiosk)"), "{}", asked.text);
        assert_eq!(unknown("pos", &known, &broken()).code, "release.not_heard");
    }
}
