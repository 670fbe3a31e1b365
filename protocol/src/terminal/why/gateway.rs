//! Why there is a gateway, or none, or one that does not reach HQ.

use std::time::Duration;

use super::{Answer, Question, words::span};

/// What the lease's machine and the uplink know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// None before HQ has granted any lease this terminal has heard of.
    pub(super) holder: Option<Holder>,
    /// This terminal is the gateway and HQ is on the line.
    pub(super) serving: bool,
    pub(super) call: Call,
    /// What came of this terminal's last call, if it failed.
    pub(super) failure: Option<Failure>,
    /// Admitted neighbours.
    pub(super) neighbours: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) name: String,
    pub(super) me: bool,
    pub(super) connected: bool,
    /// It says that it does not reach HQ.
    pub(super) dark: bool,
    pub(super) epoch: u64,
    /// 0, or of a split network the part.
    pub(super) part: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    NotDue,
    In(Duration),
    UnderWay,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) why: String,
    pub(super) ago: Duration,
    pub(super) by: By,
}

/// Who ended a call to HQ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::terminal) enum By {
    /// The network, or whoever answered.
    Line,
    /// HQ understood and said no.
    Hq,
}

/// Work goes on while the network is split, so it is no broken way to HQ.
const SPLIT: &str = "gateway.split";

pub(super) fn answer(facts: &Facts) -> Answer {
    let question = Question::Gateway;
    if let Some(Failure { why, by: By::Hq, ago }) = &facts.failure
        && !facts.serving
    {
        let (ago, next) = (span(*ago), next(facts));
        let text = format!("HQ refused this terminal {ago} ago: {why}; {next}");
        return Answer::wrong(question, "gateway.refused", text);
    }
    let Some(holder) = &facts.holder else { return nobody(facts) };
    let Holder { name, epoch, .. } = holder;
    if holder.part > 0 && (facts.serving || (holder.connected && !holder.dark)) {
        let who = if holder.me { "this terminal" } else { name };
        let text = format!(
            "{who} is the gateway of a part of the store (epoch {epoch}), whose network is split: \
             look after the switch or cable between the parts"
        );
        return Answer::wrong(question, SPLIT, text);
    }
    if holder.me {
        return if facts.serving {
            let text =
                format!("this terminal is the gateway (epoch {epoch}), and HQ is on the line");
            Answer::well(question, "gateway.this", text)
        } else if facts.failure.is_none() {
            let next = next(facts);
            let text = format!("this terminal holds the lease (epoch {epoch}); {next}");
            Answer::waits(question, "gateway.calling", text)
        } else {
            let text = format!(
                "this terminal holds the lease (epoch {epoch}) and does not reach HQ: {}",
                tried(facts)
            );
            Answer::wrong(question, "gateway.dark", text)
        };
    }
    if !holder.connected {
        let text = format!(
            "{name} was given the lease (epoch {epoch}) and is not connected to this terminal, \
             see `storemesh why neighbour {name}`; {}",
            tried(facts)
        );
        return Answer::wrong(question, "gateway.away", text);
    }
    if holder.dark {
        let text = format!(
            "no terminal of this store is known to reach HQ: the gateway {name} says that it does \
             not; {}",
            tried(facts)
        );
        return Answer::wrong(question, "gateway.dark", text);
    }
    let text = format!("{name} is the gateway (epoch {epoch}) and connected");
    Answer::well(question, "gateway.neighbour", text)
}

fn nobody(facts: &Facts) -> Answer {
    let question = Question::Gateway;
    if facts.failure.is_none() {
        let text = format!("HQ has not named a gateway yet; {}", next(facts));
        return Answer::waits(question, "gateway.calling", text);
    }
    let others =
        if facts.neighbours == 0 { "no neighbour is connected" } else { "no neighbour knows one" };
    let text = format!("HQ has not named a gateway, and {others}; {}", tried(facts));
    Answer::wrong(question, "gateway.none", text)
}

/// How this terminal's own calls to HQ went, and the next.
fn tried(facts: &Facts) -> String {
    let next = next(facts);
    match &facts.failure {
        Some(Failure { why, ago, .. }) => {
            format!("{} ago here: {why}; {next} (`storemesh doctor` tries it)", span(*ago))
        }
        None => next,
    }
}

fn next(facts: &Facts) -> String {
    match facts.call {
        Call::NotDue => "this terminal does not call HQ itself".to_owned(),
        Call::In(left) => format!("this terminal calls HQ in {}", span(left)),
        Call::UnderWay => "this terminal is calling HQ".to_owned(),
    }
}

/// How far the way to HQ goes, for a release that waits for it.
pub(super) enum Way {
    Open(String),
    Broken(String),
}

pub(super) fn way(facts: &Facts) -> Way {
    let answer = answer(facts);
    let open = answer.is_well() || answer.code == SPLIT;
    match &facts.holder {
        Some(holder) if open && !holder.me => Way::Open(format!("the gateway {}", holder.name)),
        Some(_) if open => Way::Open("HQ".to_owned()),
        _ => Way::Broken(answer.text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calm() -> Facts {
        let holder = Holder {
            name: "till-1".to_owned(),
            me: false,
            connected: true,
            dark: false,
            epoch: 3,
            part: 0,
        };
        let holder = Some(holder);
        Facts { holder, serving: false, call: Call::NotDue, failure: None, neighbours: 2 }
    }

    fn failed(by: By) -> Failure {
        let why = "HQ does not answer at hq.example:7400".to_owned();
        Failure { why, ago: Duration::from_secs(5), by }
    }

    fn holder(facts: &mut Facts) -> &mut Holder {
        facts.holder.as_mut().unwrap()
    }

    #[test]
    fn a_connected_gateway_is_named() {
        let answer = answer(&calm());
        assert_eq!((answer.code, answer.is_well()), ("gateway.neighbour", true));
        assert_eq!(answer.text, "till-1 is the gateway (epoch 3) and connected");
    }

    #[test]
    fn the_gateway_itself_says_so() {
        let mut facts = Facts { serving: true, ..calm() };
        holder(&mut facts).me = true;
        let answer = answer(&facts);
        assert_eq!((answer.code, answer.is_well()), ("gateway.this", true));
    }

    #[test]
    fn the_gateway_of_a_part_tells_that_the_network_is_split_and_serves() {
        let mut facts = calm();
        holder(&mut facts).part = 2;
        let answer = answer(&facts);
        assert_eq!((answer.code, answer.is_wrong()), ("gateway.split", true));
        assert!(answer.text.starts_with("till-1 is the gateway of a part"), "{}", answer.text);
        assert!(matches!(way(&facts), Way::Open(by) if by == "the gateway till-1"));
    }

    #[test]
    fn a_holder_that_has_just_started_is_calling() {
        let mut facts = Facts { call: Call::UnderWay, ..calm() };
        holder(&mut facts).me = true;
        let answer = answer(&facts);
        assert_eq!(answer.code, "gateway.calling");
        assert!(answer.text.ends_with("this terminal is calling HQ"), "{}", answer.text);
    }

    #[test]
    fn a_holder_without_hq_says_what_it_met_and_when_it_calls_again() {
        let call = Call::In(Duration::from_secs(12));
        let mut facts = Facts { call, failure: Some(failed(By::Line)), ..calm() };
        holder(&mut facts).me = true;
        let answer = answer(&facts);
        assert_eq!(answer.code, "gateway.dark");
        assert_eq!(
            answer.text,
            "this terminal holds the lease (epoch 3) and does not reach HQ: 5 s ago here: HQ does \
             not answer at hq.example:7400; this terminal calls HQ in 12 s (`storemesh doctor` \
             tries it)"
        );
    }

    #[test]
    fn when_the_gateway_is_dark_nobody_is_known_to_reach_hq() {
        let mut facts = Facts { call: Call::In(Duration::from_secs(2)), ..calm() };
        holder(&mut facts).dark = true;
        let answer = answer(&facts);
        assert_eq!(answer.code, "gateway.dark");
        assert!(answer.text.starts_with("no terminal of this store is known to reach HQ"));
        assert!(answer.text.ends_with("this terminal calls HQ in 2 s"), "{}", answer.text);
    }

    #[test]
    fn a_gateway_that_is_not_connected_leads_to_the_question_of_that_neighbour() {
        let mut facts = calm();
        holder(&mut facts).connected = false;
        let answer = answer(&facts);
        assert_eq!(answer.code, "gateway.away");
        assert!(answer.text.contains("`storemesh why neighbour till-1`"), "{}", answer.text);
    }

    #[test]
    fn before_the_first_lease_a_terminal_calls_or_says_why_it_failed() {
        let mut facts = Facts { holder: None, call: Call::UnderWay, ..calm() };
        assert_eq!(answer(&facts).code, "gateway.calling");
        facts.failure = Some(failed(By::Line));
        let answer = answer(&facts);
        assert_eq!(answer.code, "gateway.none");
        assert!(answer.text.contains("hq.example:7400"), "{}", answer.text);
    }

    #[test]
    fn a_refusal_of_hq_goes_before_all_else() {
        let facts = Facts { failure: Some(failed(By::Hq)), ..calm() };
        assert_eq!(answer(&facts).code, "gateway.refused");
        let serving = Facts { serving: true, ..facts };
        assert_ne!(answer(&serving).code, "gateway.refused", "it was taken back");
    }
}
