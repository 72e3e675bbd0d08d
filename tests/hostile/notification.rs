//! What the hostile router says last (RFC 4271 §6.4, RFC 9003), and what becomes of it on a
//! terminal.

use anyhow::{Context, Result, ensure};

use super::connection::State;
use super::message::notification;
use super::stage::Stage;

/// Code, subcode and data.
type LastWords = (u8, u8, Vec<u8>);

/// Cease/Administrative Shutdown with this text, which claims to be so long.
fn shutdown(length: u8, text: &[u8]) -> LastWords {
    (6, 2, [&[length], text].concat())
}

/// Last words, and what the log makes of them.
fn cases() -> Vec<(LastWords, &'static str)> {
    let text = |text: &[u8]| shutdown(u8::try_from(text.len()).expect("at most 255"), text);
    let junk: Vec<u8> = (0..4073_u16).map(|n| n.to_be_bytes()[1]).collect();
    vec![
        (text(b"\x1b[2J\x1b]0;owned\x07\x1b[31mred"), "\u{fffd}[2J\u{fffd}]0;owned\u{fffd}"),
        (text(b"bye\r\nvipcastd: all is well"), "bye\u{fffd}\u{fffd}vipcastd: all is well"),
        (text("\u{9b}31m".as_bytes()), "(6/2): \u{fffd}31m"),
        (text("\u{202e}drawkcab\u{2028}".as_bytes()), "(6/2): \u{fffd}drawkcab\u{fffd}"),
        (text(b"bad \xff\xc0\x80\xed\xa0\x80 UTF-8"), "(6/2): bad \u{fffd}"),
        (text(&[b'x'; 255]), "(6/2): xxxxxxxx"),
        (shutdown(255, b"longer than it is"), "Cease/Administrative Shutdown (6/2)"),
        (shutdown(0, b"shorter than it is"), "Cease/Administrative Shutdown (6/2)"),
        (shutdown(255, &junk), "Cease/Administrative Shutdown (6/2): "),
        ((6, 4, junk.clone()), "Cease/Administrative Reset (6/4)"),
        ((6, 9, [&[6, 9][..], &junk[..100]].concat()), "Cease/Hard Reset (6/9)"),
        ((1, 2, junk.clone()), "Message Header Error/Bad Message Length (1/2)"),
        ((5, 0, Vec::new()), "Finite State Machine Error (5/0)"),
        ((0, 0, junk.clone()), "unknown error (0/0)"),
        ((255, 255, junk), "unknown error/unknown subcode (255/255)"),
    ]
}

/// The same as messages.
pub(crate) fn messages() -> Vec<Vec<u8>> {
    let messages = cases().into_iter();
    messages.map(|((code, subcode, data), _)| notification(code, subcode, &data)).collect()
}

/// No character that a terminal takes for an order, or that changes the order of others.
fn ensure_harmless(what: &str, text: &str) -> Result<()> {
    let harmful = |c: &char| {
        c.is_control() && *c != '\n'
            || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let found = text.chars().find(harmful);
    ensure!(found.is_none(), "{found:?} in the {what}: {text:?}");
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn last_words_are_fit_for_a_terminal_in_every_state() -> Result<()> {
    let stage = Stage::start()?;
    for state in State::ALL {
        for ((code, subcode, data), words) in cases() {
            let run = || -> Result<()> {
                let mark = stage.mark()?;
                let mut connection = stage.connect_to(state)?;
                connection.send(&notification(code, subcode, &data))?;
                let last = connection.wait_for_end()?;
                ensure!(last.is_none(), "RFC 4271 §6.4: nothing answers it, but {last:?}");
                stage.wait_named(mark, &["received ", words])?;
                let log = stage.log_since(mark)?;
                ensure_harmless("log", &log)?;
                ensure!(log.lines().all(|line| line.len() < 1000), "a long line: {log}");
                ensure_harmless("status", &stage.daemon.vipcast(["status"])?)?;
                stage.check()
            };
            run().with_context(|| format!("{state:?}: {code}/{subcode} {words:?}"))?;
        }
    }
    Ok(())
}
