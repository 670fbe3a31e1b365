//! The one line that lets a terminal into a store.
//!
//! A code carries HQ's addresses, the chain to trust, and a one-time secret; nothing else must
//! be typed on the terminal. In text it is bech32m: `storemesh1` and then letters and digits
//! that are hard to confuse, with a checksum, so that a mistyped code is called mistyped and
//! not, minutes later, unknown to HQ. Case does not matter; white space is skipped, for codes
//! that a mail program has broken into lines.
//!
//! Whoever has the code can use it, once, until HQ's end for it: `Debug` hides the secret.
//! Whether it is used up or too old is HQ's to say.

use std::str::FromStr;

use bech32::{Bech32m, Checksum, Hrp, primitives::decode::CheckedHrpstring};
use minicbor::{Decode, Decoder, Encode, Encoder, decode, encode};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    ChainId, SecretKey,
    secret::Seed,
    signed::{decode_whole, encode_whole},
};

const PREFIX: &str = "storemesh";
/// What separates the prefix from the rest, in bech32.
const SEPARATOR: char = '1';
/// The letters of bech32: no `1`, `b`, `i` or `o` after the separator.
const LETTERS: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
/// Endless data: eight addresses of 128 bytes make some 1,800 letters.
const TEXT_MAX: usize = 2048;

/// An invitation into a store.
#[derive(Clone, Debug)]
pub struct InvitationCode {
    addresses: Vec<String>,
    chain: ChainId,
    secret: SecretKey,
}

/// What is wrong with a code, or with what one is to be made of.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CodeError {
    /// Something else was pasted; give the code.
    #[error("not an invitation code: one begins with `storemesh1`")]
    NotACode,
    /// Look at this character.
    #[error("the code is mistyped: {0:?} is in no invitation code")]
    Character(char),
    /// Compare letter by letter, or paste it.
    #[error("the code is mistyped or incomplete: its checksum does not match")]
    Mistyped,
    /// Paste the code alone.
    #[error("a code of {0} letters, at most {TEXT_MAX}")]
    TooLong(usize),
    /// This program is older than HQ's; update it.
    #[error("the code is whole, but this version cannot read it: {0}")]
    NotReadable(String),
    /// Give HQ at least one address, and at most as many as a code holds.
    #[error("a code with {0} addresses of HQ, from 1 to {max}", max = InvitationCode::ADDRESSES_MAX)]
    Addresses(usize),
    /// An address of HQ is `HOST:PORT` in plain letters.
    #[error("{0:?} is not an address `HOST:PORT` of at most {max} letters", max = InvitationCode::ADDRESS_BYTES_MAX)]
    Address(String),
}

impl InvitationCode {
    /// Endless data: a code is typed or pasted by people, and dialled address by address.
    pub const ADDRESSES_MAX: usize = 8;
    pub const ADDRESS_BYTES_MAX: usize = 128;

    pub fn new(
        addresses: Vec<String>,
        chain: ChainId,
        secret: SecretKey,
    ) -> Result<Self, CodeError> {
        if !(1..=Self::ADDRESSES_MAX).contains(&addresses.len()) {
            return Err(CodeError::Addresses(addresses.len()));
        }
        if let Some(bad) = addresses.iter().find(|address| !is_address(address)) {
            return Err(CodeError::Address(bad.clone()));
        }
        Ok(Self { addresses, chain, secret })
    }

    /// Where HQ can be reached, each as `HOST:PORT`, the first tried first.
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    pub fn chain(&self) -> ChainId {
        self.chain
    }

    /// Signs the enrolment.
    pub fn secret(&self) -> &SecretKey {
        &self.secret
    }

    /// The code as people see it. Not `Display`, so that no log prints it by accident.
    pub fn to_text(&self) -> Zeroizing<String> {
        let wire = Wire {
            addresses: Addresses(self.addresses.clone()),
            chain: self.chain,
            secret: Seed(self.secret.clone()),
        };
        let bytes = Zeroizing::new(encode_whole(&wire));
        let prefix = Hrp::parse_unchecked(PREFIX);
        let text = bech32::encode::<CodeChecksum>(prefix, &bytes);
        Zeroizing::new(text.expect("the limits of a code keep it below the checksum's"))
    }
}

impl FromStr for InvitationCode {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        if text.len() > TEXT_MAX {
            return Err(CodeError::TooLong(text.len()));
        }
        let skipped = text.chars().filter(|c| !c.is_whitespace());
        let text: Zeroizing<String> =
            Zeroizing::new(skipped.map(|c| c.to_ascii_lowercase()).collect());
        let letters = text
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.strip_prefix(SEPARATOR))
            .ok_or(CodeError::NotACode)?;
        if let Some(other) = letters.chars().find(|c| !LETTERS.contains(*c)) {
            return Err(CodeError::Character(other));
        }
        let checked =
            CheckedHrpstring::new::<CodeChecksum>(&text).map_err(|_| CodeError::Mistyped)?;
        let bytes: Zeroizing<Vec<u8>> = Zeroizing::new(checked.byte_iter().collect());
        let wire: Wire =
            decode_whole(&bytes).map_err(|why| CodeError::NotReadable(why.to_string()))?;
        Self::new(wire.addresses.0, wire.chain, wire.secret.0)
    }
}

/// Bech32m, but for codes of more than its 1,023 letters. Beyond them two wrong letters exactly
/// 1,023 apart may go unseen, all else is seen as before; a usual code has some 150.
enum CodeChecksum {}

impl Checksum for CodeChecksum {
    type MidstateRepr = <Bech32m as Checksum>::MidstateRepr;
    const CODE_LENGTH: usize = TEXT_MAX;
    const CHECKSUM_LENGTH: usize = Bech32m::CHECKSUM_LENGTH;
    const GENERATOR_SH: [Self::MidstateRepr; 5] = Bech32m::GENERATOR_SH;
    const TARGET_RESIDUE: Self::MidstateRepr = Bech32m::TARGET_RESIDUE;
}

#[derive(Encode, Decode)]
struct Wire {
    #[n(0)]
    addresses: Addresses,
    #[n(1)]
    chain: ChainId,
    #[n(2)]
    secret: Seed,
}

struct Addresses(Vec<String>);

impl<C> Encode<C> for Addresses {
    fn encode<W: encode::Write>(
        &self,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), encode::Error<W::Error>> {
        self.0.encode(e, ctx)
    }
}

impl<C> Decode<'_, C> for Addresses {
    /// Stops at the limits of [`InvitationCode`] before it copies what is beyond.
    fn decode(d: &mut Decoder<'_>, _: &mut C) -> Result<Self, decode::Error> {
        let mut addresses = Vec::new();
        for address in d.array_iter::<&str>()? {
            let address = address?;
            if addresses.len() == InvitationCode::ADDRESSES_MAX || !is_address(address) {
                return Err(decode::Error::message("not the addresses of an HQ"));
            }
            addresses.push(address.to_owned());
        }
        Ok(Self(addresses))
    }
}

/// Whether this may stand in a code: short, visible, with a port. Whether it leads anywhere
/// shows when it is dialled.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    text.len() <= InvitationCode::ADDRESS_BYTES_MAX
        && !host.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|port| port != 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixtures::chain;

    fn code() -> InvitationCode {
        let addresses = vec!["hq.example.com:7400".into(), "[2001:db8::1]:7400".into()];
        InvitationCode::new(addresses, chain(), SecretKey::from_seed([6; 32])).unwrap()
    }

    fn parse(text: &str) -> Result<InvitationCode, CodeError> {
        text.parse()
    }

    fn assert_same(text: &str, code: &InvitationCode) {
        let parsed = parse(text).unwrap();
        assert_eq!(parsed.addresses(), code.addresses());
        assert_eq!(parsed.chain(), code.chain());
        assert_eq!(parsed.secret().public(), code.secret().public());
    }

    #[test]
    fn a_code_says_all_that_a_terminal_needs() {
        assert_same(&code().to_text(), &code());
    }

    #[test]
    fn the_text_of_a_code_stays_as_it_is() {
        assert_eq!(
            *code().to_text(),
            concat!(
                "storemesh1swp8x6r39ejhsctdwpkx2tnrdakn5de5xqc8ykejxqcrzwnyvgur5w33t5arwdpsxpvzpz5gu0wh",
                "gz03jh749ked8ja96uk2vuym78v5zgdlxaygqx6q7m6utqsqvpsxqcrqvpsxqcrqvpsxqcrqvpsxqcrqvpsxqc",
                "rqvpsxqcrqvpsx6787y",
            )
        );
    }

    #[test]
    fn case_and_white_space_do_not_matter() {
        let text = code().to_text();
        assert_same(&text.to_uppercase(), &code());
        assert_same(&format!("  {}\n {}\r\n", &text[..40], &text[40..]), &code());
    }

    #[test]
    fn every_wrong_letter_and_every_swap_is_called_a_typing_error() {
        let text = code().to_text();
        for at in PREFIX.len() + 1..text.len() {
            let right = &text[at..=at];
            for wrong in LETTERS.chars().filter(|wrong| !right.contains(*wrong)) {
                let mistyped = format!("{}{wrong}{}", &text[..at], &text[at + 1..]);
                assert_eq!(parse(&mistyped).unwrap_err(), CodeError::Mistyped, "{at} {wrong}");
            }
            let Some(next) = text.get(at + 1..at + 2).filter(|next| *next != right) else {
                continue;
            };
            let swapped = format!("{}{next}{right}{}", &text[..at], &text[at + 2..]);
            assert_eq!(parse(&swapped).unwrap_err(), CodeError::Mistyped, "{at} swapped");
        }
    }

    #[test]
    fn a_missing_or_doubled_letter_is_called_a_typing_error() {
        let text = code().to_text();
        for at in PREFIX.len() + 1..text.len() {
            let missing = format!("{}{}", &text[..at], &text[at + 1..]);
            assert_eq!(parse(&missing).unwrap_err(), CodeError::Mistyped, "{at} missing");
            let doubled = format!("{}{}", &text[..=at], &text[at..]);
            assert_eq!(parse(&doubled).unwrap_err(), CodeError::Mistyped, "{at} doubled");
        }
    }

    #[test]
    fn a_letter_that_no_code_has_is_shown() {
        let text = code().to_text();
        for wrong in ['b', 'i', 'o', '1', '-', 'ä'] {
            let mistyped = format!("{}{wrong}{}", &text[..30], &text[31..]);
            assert_eq!(parse(&mistyped).unwrap_err(), CodeError::Character(wrong));
        }
    }

    #[test]
    fn what_is_no_code_is_called_so() {
        let bitcoin = "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0";
        for text in ["", "storemesh", "https://hq.example.com", bitcoin, "storemsh1qqqqqqqq"] {
            assert_eq!(parse(text).unwrap_err(), CodeError::NotACode, "{text}");
        }
        assert_eq!(parse("storemesh1").unwrap_err(), CodeError::Mistyped);
        assert_eq!(parse("storemesh1qqq").unwrap_err(), CodeError::Mistyped);
        assert_eq!(parse(&"q".repeat(5_000)).unwrap_err(), CodeError::TooLong(5_000));
    }

    #[test]
    fn the_largest_code_fits_and_nothing_beyond_the_limits_is_made_or_read() {
        let address = |bytes: usize| format!("{}:7400", "x".repeat(bytes - 5));
        let make = |addresses| InvitationCode::new(addresses, chain(), SecretKey::generate());

        let largest = make(vec![address(128); 8]).unwrap();
        assert!(largest.to_text().len() <= TEXT_MAX);
        assert_same(&largest.to_text(), &largest);

        assert_eq!(make(vec![]).unwrap_err(), CodeError::Addresses(0));
        assert_eq!(make(vec![address(20); 9]).unwrap_err(), CodeError::Addresses(9));
        let long = address(129);
        assert_eq!(make(vec![long.clone()]).unwrap_err(), CodeError::Address(long.clone()));

        for addresses in [vec![], vec![address(20); 9], vec![long]] {
            let unmade = InvitationCode { addresses, ..code() };
            let why = parse(&unmade.to_text()).unwrap_err();
            assert!(matches!(why, CodeError::NotReadable(_) | CodeError::Addresses(0)), "{why}");
        }
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for good in ["10.0.0.1:7400", "[::1]:1", "hq:65535"] {
            assert!(is_address(good), "{good}");
        }
        for bad in ["", "hq", ":7400", "hq:", "hq:0", "hq:65536", "hq:+1", "h q:1", "hä:1", "h\n:1"]
        {
            assert!(!is_address(bad), "{bad}");
        }
    }

    #[test]
    fn debug_hides_the_secret() {
        let shown = format!("{:?}", code());
        assert!(shown.contains("hq.example.com:7400"), "{shown}");
        assert!(!shown.contains("0606") && !shown.contains("6, 6"), "{shown}");
    }

    #[test]
    fn the_checksum_for_long_codes_is_bech32ms() {
        CodeChecksum::sanity_check();
        let (prefix, _) = bech32::decode(&code().to_text()).unwrap();
        assert_eq!(prefix.as_str(), PREFIX);
    }

    proptest! {
        #[test]
        fn any_code_gives_itself_back(
            addresses in prop::collection::vec("[a-z0-9.-]{1,60}:[1-9][0-9]{0,3}", 1..=8),
            seeds: [[u8; 32]; 2],
        ) {
            let root = SecretKey::from_seed(seeds[0]).public();
            let secret = SecretKey::from_seed(seeds[1]);
            let code = InvitationCode::new(addresses, ChainId::of_root(root), secret).unwrap();
            assert_same(&code.to_text(), &code);
        }

        #[test]
        fn any_text_is_a_code_or_an_error(text in "(storemesh1)?.{0,100}") {
            prop_assert!(parse(&text).is_err());
        }

        #[test]
        fn any_bytes_in_a_whole_code_are_a_code_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let prefix = Hrp::parse_unchecked(PREFIX);
            let text = bech32::encode::<CodeChecksum>(prefix, &bytes).unwrap();
            let why = parse(&text).unwrap_err();
            prop_assert!(matches!(why, CodeError::NotReadable(_)), "{}", why);
        }
    }
}
