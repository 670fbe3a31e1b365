//! The page of a store of five, drawn into memory.

use ratatui::{Terminal, backend::TestBackend};
use serde_json::{Value, json};

use super::*;

fn status(fetching: bool) -> Value {
    let (have, phase, running) =
        if fetching { (43, "fetching", "2.0") } else { (120, "running", "2.1") };
    json!({
        "name": "till-1", "peer": "12D3KooWme", "store": "berlin-1", "chain": "c", "version": "0.1.0",
        "state": "running", "uplink": "none", "hq_not_reached": null, "neighbours": 3,
        "gateway": { "peer": "12D3KooWp2", "name": "till-2", "epoch": 7, "part": 0, "me": false, "connected": true,
            "dark": false, "shunned": false },
        "wired": true, "mains": true, "apart": [],
        "hq_addresses": ["hq.example:7400"], "certificate_until_ms": 0,
        "hq_time": { "ms": 0, "sure": false, "from": "own_clock", "voices": null, "signed_ago_ms": null, "floor_ms": 0 },
        "listen": ["10.0.0.1:7410"], "uptime_ms": 7_500_000, "first_neighbour_chunk_ms": null,
        "releases": [{
            "product": "pos", "wanted": "2.1", "running": running, "phase": phase,
            "chunks_have": have, "chunks_total": 120, "bytes_have": 1, "bytes_total": 2,
            "bytes_from_hq": 4_000_000, "bytes_from_neighbours": 31_000_000, "bytes_local": 0,
            "took_ms": null, "note": null,
        }],
    })
}

fn peer(n: u8, connected: bool, bytes: u64) -> Value {
    let releases = if n == 4 {
        json!([])
    } else {
        json!([{ "product": "pos", "running": null, "phase": null, "chunks_have": 60, "chunks_total": 120 }])
    };
    json!({
        "peer": format!("12D3KooWp{n}"), "name": format!("till-{n}"), "connected": connected,
        "address": format!("10.0.0.{n}:7410"), "found_by": "mdns", "gateway": n == 2,
        "shunned": false, "bytes_in": bytes, "bytes_out": 0, "releases": releases,
    })
}

fn said(fetching: bool, bytes: u64) -> Said {
    let peers =
        json!([peer(5, false, 0), peer(2, true, bytes), peer(3, true, 0), peer(4, true, 0)]);
    let answers = json!([
        { "question": "release pos", "state": "waits", "code": "release.fetching",
          "answer": "release pos 2.1 is at 43 of 120 chunks: more comes from till-2" },
        { "question": "neighbour till-5", "state": "wrong", "code": "neighbour.silent",
          "answer": "till-5 does not answer at 10.0.0.5:7410 (found by mDNS): it is off, or a firewall between you blocks that port; it is dialled again in 12 s" },
    ]);
    Said {
        status: serde_json::from_value(status(fetching)).unwrap(),
        peers: serde_json::from_value(peers).unwrap(),
        answers: serde_json::from_value(answers).unwrap(),
    }
}

/// A view that has looked twice, a second apart.
fn view() -> View {
    let (mut view, begun) = (View::default(), Instant::now());
    for (after, bytes) in [(0, 0), (1000, 2_500_000)] {
        let said = said(true, bytes);
        view.rates.add(begun + Duration::from_millis(after), &said);
        view.said = Some(said);
    }
    view
}

fn picture(view: &View, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| page::draw(frame, view)).unwrap();
    let buffer = terminal.backend().buffer();
    let row = |y: u16| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| row(y).trim_end().to_owned()).collect()
}

#[test]
fn the_page_shows_the_store_at_80_columns_and_24_lines() {
    let lines = picture(&view(), 80, 24);
    let page = lines.join("\n");
    assert_eq!(
        page,
        "\
till-1 of store berlin-1                         storemesh 0.1.0, up 2 h, q ends
gateway: till-2 (epoch 7)
HQ: the gateway speaks with it
── terminals ───────────────────────────────────────────────────────────────────
                address               found by            in         out state
till-1          10.0.0.1:7410         this one     2.3 MiB/s
till-2          10.0.0.2:7410         mdns         2.3 MiB/s             gateway
till-3          10.0.0.3:7410         mdns
till-4          10.0.0.4:7410         mdns
till-5          10.0.0.5:7410         mdns                               away
── releases ────────────────────────────────────────────────────────────────────
pos 2.0 runs, 2.1 is wanted: fetching, 43 of 120 chunks
  3.8 MiB from HQ, 29.5 MiB from neighbours
till-1          ██████░░░░░░░░░░░░  35%  till-2          █████████░░░░░░░░░  50%
till-3          █████████░░░░░░░░░  50%  till-4          not known here
── why ─────────────────────────────────────────────────────────────────────────
till-5 does not answer at 10.0.0.5:7410 (found by mDNS): it is off, or a
firewall between you blocks that port; it is dialled again in 12 s
release pos 2.1 is at 43 of 120 chunks: more comes from till-2




",
        "\n{page}"
    );
}

#[test]
fn a_small_page_says_how_much_it_leaves_out_and_never_fails() {
    let mut crowded = view();
    let peers = (2..50).map(|n| peer(n, true, 0)).collect();
    crowded.said.as_mut().unwrap().peers = serde_json::from_value(Value::Array(peers)).unwrap();
    let page = picture(&crowded, 80, 24).join("\n");
    assert!(page.contains("more lines"), "{page}");
    assert!(page.contains("till-5 does not answer"), "{page}");
    for (width, height) in [(1, 1), (20, 5), (40, 10), (200, 60)] {
        picture(&crowded, width, height);
        picture(&View::default(), width, height);
    }
}

#[test]
fn a_node_that_is_gone_is_said_and_the_last_page_stays() {
    let mut gone = view();
    let why = "no node runs on `/d`: start it".to_owned();
    gone.silent = Some((why, Duration::from_secs(12)));
    let page = picture(&gone, 80, 24).join("\n");
    assert!(page.contains("no answer for 12 s: no node runs on `/d`"), "{page}");
    assert!(page.contains("above is how it was"), "{page}");
    assert!(page.contains("till-3"), "{page}");
    gone.said = None;
    let page = picture(&gone, 80, 24).join("\n");
    assert!(page.contains("no answer for 12 s"), "{page}");
}

#[test]
fn a_rate_is_what_came_since_and_a_counter_that_began_anew_is_no_rate() {
    let (mut rates, begun) = (Rates::default(), Instant::now());
    let at = |ms| begun + Duration::from_millis(ms);
    for (ms, bytes) in [(0, 0), (500, 1_000_000), (1000, 3_000_000)] {
        rates.add(at(ms), &said(true, bytes));
    }
    assert_eq!(rates.of("12D3KooWp2"), (3_000_000, 0));
    rates.add(at(1500), &said(true, 10));
    assert_eq!(rates.of("12D3KooWp2"), (2_000_000, 0));
    rates.add(at(6000), &said(true, 10));
    assert_eq!((rates.of("12D3KooWp2"), rates.of("nobody")), ((0, 0), (0, 0)));
}

#[test]
fn q_and_control_c_end_it() {
    let press = |code, modifiers| ends(KeyEvent::new(code, modifiers));
    assert!(press(KeyCode::Char('q'), KeyModifiers::NONE));
    assert!(press(KeyCode::Char('c'), KeyModifiers::CONTROL));
    assert!(!press(KeyCode::Char('c'), KeyModifiers::NONE));
    assert!(!press(KeyCode::Enter, KeyModifiers::NONE));
}
