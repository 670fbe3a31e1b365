//! Socket addresses as text, so that a frame reads the same whatever the address family.

use core::net::SocketAddr;

use minicbor::{
    Decoder, Encoder,
    decode::Error as Unread,
    encode::{Error as Unwritten, Write},
};

/// More than these in one list are skipped unread.
const MAX: usize = 16;

pub(crate) fn encode<C, W: Write>(
    addresses: &[SocketAddr],
    e: &mut Encoder<W>,
    _: &mut C,
) -> Result<(), Unwritten<W::Error>> {
    let told = addresses.len().min(MAX);
    e.array(told as u64)?;
    for address in &addresses[..told] {
        e.str(&address.to_string())?;
    }
    Ok(())
}

pub(crate) fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Vec<SocketAddr>, Unread> {
    let mut addresses = Vec::new();
    for text in d.array_iter::<&str>()? {
        // An address this version cannot read is one it cannot dial.
        if let Ok(address) = text?.parse()
            && addresses.len() < MAX
        {
            addresses.push(address);
        }
    }
    Ok(addresses)
}
