//! Why a neighbour is used, or not.

use std::time::Duration;

use super::{Answer, Question, words::span};

/// What admission, the finder and the swarm know of one terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) name: String,
    pub(super) link: Link,
    /// Why it was sent away last, since it was last let in.
    pub(super) refusal: Option<Refusal>,
    /// None when nobody has told where it is.
    pub(super) search: Option<Search>,
    /// The gateway, when that reaches it and this terminal has not for a while.
    pub(super) apart: Option<String>,
    /// The addresses that HQ knows are used.
    pub(super) hq_list: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    None,
    /// Connected, and its certificate is awaited.
    Greeting,
    Admitted(Delivers),
}

/// How it answers when it is asked for chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivers {
    Well,
    Lied { ago: Duration },
    Stalled { left: Duration },
    Rests { left: Duration },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) why: String,
    pub(super) ago: Duration,
    /// It belongs to another store or chain, and is right not to be here.
    pub(super) foreign: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Search {
    /// Where it is dialled next, and who told of that.
    pub(super) at: Option<String>,
    /// None while it is being dialled.
    pub(super) dialled_in: Option<Duration>,
    pub(super) failures: u32,
    pub(super) was_here: bool,
}

pub(super) fn answer(facts: &Facts) -> Answer {
    let name = &facts.name;
    let question = Question::Neighbour(name.clone());
    match facts.link {
        Link::Admitted(delivers) => return admitted(question, name, delivers),
        Link::Greeting => {
            let text = format!("{name} has just connected: its certificate is awaited");
            return Answer::waits(question, "neighbour.greeting", text);
        }
        Link::None => {}
    }
    if let Some(Refusal { why, ago, foreign }) = &facts.refusal {
        let text = format!("{name} was refused {} ago: {why}", span(*ago));
        return if *foreign {
            Answer::well(question, "neighbour.foreign", text)
        } else {
            Answer::wrong(question, "neighbour.refused", text)
        };
    }
    if let Some(gateway) = &facts.apart {
        let text = format!(
            "{name} is connected to the gateway {gateway} and not to this terminal: the network \
             keeps the two apart, as the client isolation of a Wi-Fi or a firewall does; its chunks \
             come by way of others"
        );
        return Answer::waits(question, "neighbour.apart", text);
    }
    let Some(search) = &facts.search else {
        let hq = if facts.hq_list {
            "HQ has no address of it"
        } else {
            "HQ's list is switched off here"
        };
        let text = format!(
            "{name} was never found: it is off, or multicast is blocked and {hq} (`storemesh \
             doctor` here and there tells)"
        );
        return Answer::wrong(question, "neighbour.never_found", text);
    };
    let next = match search.dialled_in {
        Some(left) => format!("it is dialled again in {}", span(left)),
        None => "it is being dialled".to_owned(),
    };
    let at = search.at.as_deref().map_or_else(String::new, |at| format!(" at {at}"));
    if search.failures == 0 {
        let text = format!("{name} was found{at} and {next}");
        return Answer::waits(question, "neighbour.dialling", text);
    }
    let text = if search.was_here {
        format!(
            "{name} was here and does not answer any more{at}: it is off, or its network is cut; {next}"
        )
    } else {
        format!(
            "{name} does not answer{at}: it is off, or a firewall between you blocks that port; {next}"
        )
    };
    Answer::wrong(question, "neighbour.silent", text)
}

fn admitted(question: Question, name: &str, delivers: Delivers) -> Answer {
    match delivers {
        Delivers::Well => {
            Answer::well(question, "neighbour.connected", format!("{name} is connected and used"))
        }
        Delivers::Lied { ago } => {
            let text = format!(
                "{name} answered with wrong bytes {} ago and is not asked for chunks again until \
                 this node is restarted: look after its disk and memory",
                span(ago)
            );
            Answer::wrong(question, "neighbour.lied", text)
        }
        Delivers::Stalled { left } => {
            let text = format!(
                "{name} is connected and did not deliver chunks in time: it rests for {} more",
                span(left)
            );
            Answer::waits(question, "neighbour.stalled", text)
        }
        Delivers::Rests { left } => {
            let text = format!(
                "{name} is connected; its last answer broke off or could not be written down here: \
                 it rests for {} more",
                span(left)
            );
            Answer::waits(question, "neighbour.rests", text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(12);

    fn away() -> Facts {
        let (name, link) = ("till-3".to_owned(), Link::None);
        Facts { name, link, refusal: None, search: None, apart: None, hq_list: true }
    }

    fn silent(was_here: bool) -> Facts {
        let at = Some("10.0.0.5:7410 (mdns)".to_owned());
        let search = Search { at, dialled_in: Some(SOON), failures: 3, was_here };
        Facts { search: Some(search), ..away() }
    }

    fn with(delivers: Delivers) -> Answer {
        answer(&Facts { link: Link::Admitted(delivers), ..away() })
    }

    #[test]
    fn a_connected_neighbour_is_well() {
        let answer = with(Delivers::Well);
        assert_eq!((answer.code, answer.is_well()), ("neighbour.connected", true));
        assert_eq!(answer.text, "till-3 is connected and used");
        assert_eq!(answer.question.to_string(), "neighbour till-3");
    }

    #[test]
    fn one_that_lied_is_named_with_what_it_did_and_what_ends_it() {
        let answer = with(Delivers::Lied { ago: Duration::from_mins(2) });
        assert_eq!((answer.code, answer.is_well()), ("neighbour.lied", false));
        assert!(answer.text.starts_with("till-3 answered with wrong bytes 2 min ago"));
        assert!(answer.text.contains("until this node is restarted"));
    }

    #[test]
    fn one_that_rests_says_why_and_for_how_long() {
        let stalled = with(Delivers::Stalled { left: SOON });
        assert_eq!(stalled.code, "neighbour.stalled");
        assert!(stalled.text.ends_with("it rests for 12 s more"), "{}", stalled.text);
        let rests = with(Delivers::Rests { left: SOON });
        assert_eq!(rests.code, "neighbour.rests");
    }

    #[test]
    fn one_that_has_not_shown_its_certificate_is_waited_for() {
        let answer = answer(&Facts { link: Link::Greeting, ..away() });
        assert_eq!(answer.code, "neighbour.greeting");
    }

    #[test]
    fn one_that_was_refused_says_what_it_did_wrong() {
        let refusal = |why: &str, foreign| {
            let refusal = Refusal { why: why.to_owned(), ago: SOON, foreign };
            answer(&Facts { refusal: Some(refusal), ..silent(false) })
        };
        let bad = refusal("showed no certificate in time", false);
        assert_eq!((bad.code, bad.is_well()), ("neighbour.refused", false));
        let foreign = refusal("is a terminal of store s2, this is s1", true);
        assert_eq!((foreign.code, foreign.is_well()), ("neighbour.foreign", true));
        assert_eq!(
            foreign.text,
            "till-3 was refused 12 s ago: is a terminal of store s2, this is s1"
        );
    }

    #[test]
    fn one_that_only_the_gateway_reaches_is_kept_apart_by_the_network() {
        let answer = answer(&Facts { apart: Some("till-1".to_owned()), ..silent(false) });
        assert_eq!((answer.code, answer.is_wrong()), ("neighbour.apart", false));
        assert!(answer.text.contains("connected to the gateway till-1"), "{}", answer.text);
    }

    #[test]
    fn one_that_nobody_found_may_be_off_or_hidden() {
        let never = answer(&away());
        assert_eq!((never.code, never.is_well()), ("neighbour.never_found", false));
        assert!(never.text.contains("multicast is blocked and HQ has no address of it"));
        let off = answer(&Facts { hq_list: false, ..away() });
        assert!(off.text.contains("HQ's list is switched off here"), "{}", off.text);
    }

    #[test]
    fn one_that_does_not_answer_says_where_it_was_tried_and_when_again() {
        let unseen = answer(&silent(false));
        assert_eq!(unseen.code, "neighbour.silent");
        assert_eq!(
            unseen.text,
            "till-3 does not answer at 10.0.0.5:7410 (mdns): it is off, or a firewall between you \
             blocks that port; it is dialled again in 12 s"
        );
        let gone = answer(&silent(true));
        assert!(gone.text.starts_with("till-3 was here and does not answer any more"));
        let mut dialled = silent(false);
        dialled.search.as_mut().unwrap().dialled_in = None;
        assert!(answer(&dialled).text.ends_with("it is being dialled"));
    }

    #[test]
    fn one_that_was_just_found_is_only_waited_for() {
        let mut facts = silent(false);
        facts.search.as_mut().unwrap().failures = 0;
        let answer = answer(&facts);
        assert_eq!(answer.code, "neighbour.dialling");
        assert!(!answer.is_wrong());
    }
}
