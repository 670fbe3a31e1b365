//! What a release is made of: a manifest, and chunks.

use storemesh_protocol::content::{CHUNK_MAX, ChunkId, ChunkRef, Manifest, pack, unpack};
use storemesh_tests::fuzz::Target;

use crate::{MEMORY, chain::release};

#[test]
fn a_manifest() {
    let seeds = ["1", "2"].map(|version| release(version).1.encode()).into();
    let run = |input: &[u8]| match Manifest::decode(input) {
        Ok(manifest) => {
            assert_eq!(Manifest::decode(&manifest.encode()).unwrap(), manifest);
            for entry in manifest.entries() {
                assert!(entry.path.parts().all(|part| !["", ".", ".."].contains(&part)));
            }
            format!("of {} entries", manifest.entries().len())
        }
        Err(why) => why.to_string(),
    };
    // An entry takes 8 bytes on the wire and some 100 in memory, in a list that grows by doubling;
    // judging where links lead takes as much again.
    let memory_max = |bytes| 64 * bytes;
    Target { name: "manifest", seeds, memory_max, mutations: 4000, memory: &MEMORY, run }.try_out();
}

/// The first four bytes say how long it claims to be.
#[test]
fn a_chunk_as_it_is_stored() {
    let bomb = vec![0; CHUNK_MAX];
    let texts = [&b"one coffee, two rolls; ".repeat(40)[..], b"x", &bomb];
    let seed = |plain: &&[u8]| {
        let (chunk, stored) = pack(plain);
        [&chunk.plain.to_be_bytes()[..], &stored].concat()
    };
    let mut seeds: Vec<Vec<u8>> = texts.iter().map(seed).collect();
    // Unpacks to a mebibyte where 20 bytes are claimed.
    let mut liar = seeds[2].clone();
    liar[..4].copy_from_slice(&20_u32.to_be_bytes());
    seeds.push(liar);
    let run = |input: &[u8]| {
        let Some((plain, stored)) = input.split_first_chunk() else { return "short".to_owned() };
        let plain = u32::from_be_bytes(*plain);
        let length = u32::try_from(stored.len()).unwrap();
        let chunk = |id| ChunkRef { id, plain, stored: length };
        match unpack(&chunk(ChunkId([7; 32])), stored) {
            Ok(_) => panic!("nothing hashes to this"),
            Err(storemesh_protocol::content::ChunkError::WrongHash { found, .. }) => {
                let unpacked = unpack(&chunk(found), stored).unwrap();
                assert_eq!(unpacked.len(), plain as usize);
                "unpacked".to_owned()
            }
            Err(why) => why.to_string(),
        }
    };
    let memory_max = |_| 2 * CHUNK_MAX;
    Target { name: "chunk", seeds, memory_max, mutations: 2000, memory: &MEMORY, run }.try_out();
}
