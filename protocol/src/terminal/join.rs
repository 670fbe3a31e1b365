//! `storemesh join`: from an invitation code to a certificate.
//!
//! Calls one of the addresses in the code, makes sure by the pinned chain that it is HQ, proves to
//! hold the code's secret, and ends with what the terminal keeps, or with one line that says what to
//! do. Asking twice is safe: HQ gives the same terminal the same place again.

use storemesh_keys::{
    Enrolment, Expiry, InvitationCode, Name, PeerId, PublicKey, Signed, Timestamp, Trust,
};

use super::{Membership, uplink::vouches};
use crate::wire::{
    self,
    uplink::{Enrol, FromHq, Hello, ToHq},
};

#[derive(Debug)]
pub struct Join {
    me: PeerId,
    name: Name,
    code: InvitationCode,
    wall: Timestamp,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Calling,
    Greeting { hq: PublicKey },
    Asked,
}

#[derive(Debug)]
pub enum JoinInput {
    UplinkUp { hq: PublicKey },
    UplinkFrame(Vec<u8>),
}

#[derive(Debug)]
pub enum JoinOutput {
    SendUp(Vec<u8>),
    /// Keep this: the terminal has joined.
    Joined(Box<Membership>),
    /// HQ says no, and what to do.
    Refused(String),
    /// Whoever answered is not our HQ, or speaks nonsense.
    NotHq(String),
}

impl Join {
    pub fn new(me: PeerId, name: Name, code: InvitationCode, wall: Timestamp) -> Self {
        Self { me, name, code, wall, stage: Stage::Calling }
    }

    /// Where to call, in this order.
    pub fn addresses(&self) -> &[String] {
        self.code.addresses()
    }

    #[must_use]
    pub fn handle(&mut self, input: JoinInput) -> Vec<JoinOutput> {
        match input {
            JoinInput::UplinkUp { hq } => {
                self.stage = Stage::Greeting { hq };
                let hello = Some(Hello { certificate: None, listen: Vec::new() });
                vec![send(&ToHq { hello, ..ToHq::default() })]
            }
            JoinInput::UplinkFrame(bytes) => match wire::decode::<FromHq>(&bytes) {
                Ok(frame) => self.frame(frame),
                Err(why) => vec![JoinOutput::NotHq(why.to_string())],
            },
        }
    }

    fn frame(&mut self, frame: FromHq) -> Vec<JoinOutput> {
        let trust = Trust { chain: self.code.chain(), generation_min: 0 };
        let mut outputs = Vec::new();
        if let Stage::Greeting { hq } = self.stage {
            let Some(welcome) = &frame.welcome else {
                return vec![JoinOutput::NotHq("it spoke before its welcome".to_owned())];
            };
            if let Err(why) = vouches(welcome, &hq, &trust, self.wall) {
                return vec![JoinOutput::NotHq(why)];
            }
            self.stage = Stage::Asked;
            let secret = self.code.secret();
            let enrolment =
                Enrolment { chain: self.code.chain(), peer: self.me, name: self.name.clone() };
            let proof = Signed::sign(secret, &enrolment);
            let enrol = Some(Enrol { invitation: secret.public(), proof });
            outputs.push(send(&ToHq { enrol, ..ToHq::default() }));
        }
        if let Some(refused) = frame.refused {
            outputs.push(JoinOutput::Refused(refused.why));
        } else if let Some(enrolled) = frame.enrolled {
            outputs.push(match enrolled.verify(&trust, self.wall, Expiry::Ignored) {
                Ok(certificate) if certificate.peer == self.me => {
                    JoinOutput::Joined(Box::new(Membership {
                        chain: self.code.chain(),
                        certificate,
                        hq: self.code.addresses().to_vec(),
                    }))
                }
                Ok(_) => JoinOutput::NotHq("it sent another terminal's certificate".to_owned()),
                Err(why) => JoinOutput::NotHq(why.to_string()),
            });
        }
        outputs
    }
}

fn send(frame: &ToHq) -> JoinOutput {
    JoinOutput::SendUp(wire::encode(frame))
}
