//! [`PeerBfd`] as a person reads it.
use std::fmt::Write;
use std::time::Duration;

use super::{Mark, Page, Style, place};
use crate::speaker::bfd::{Echo, EchoState, End, Measured, PeerBfd, Session};

/// Draws the BFD sessions of peers.
#[must_use]
pub fn bfd(peers: &[PeerBfd], style: Style) -> String {
    let mut page = Page { text: String::new(), style, now: None };
    for peer in peers {
        page.now = peer.time.parse().ok();
        page.bfd(peer);
    }
    page.text
}

impl Page {
    fn bfd(&mut self, peer: &PeerBfd) {
        if !self.text.is_empty() {
            self.line(0, "");
        }
        let status = &peer.status;
        let (mark, state) = if status.up { (Mark::Good, "up") } else { (Mark::Bad, "down") };
        let place = place(peer.address, peer.interface.as_deref());
        let mut text = format!("{}  {place}  {state} for {}", peer.name, self.ago(&status.since));
        if let Some(why) = status.why() {
            let _ = write!(text, ": {why}");
        }
        self.marked(0, mark, &text);
        if status.strict {
            self.line(4, "BGP waits for it (strict)");
        }
        if let Some(session) = &peer.session {
            self.session(session);
        }
    }

    /// One that has nothing but our Echo packets.
    fn unaffiliated(&mut self, session: &Session) {
        let End { state, diagnostic, discriminator, detect_multiplier, .. } = &session.local;
        self.line(4, &format!("state {state} ({diagnostic}), discriminator {discriminator}"));
        session.echo.iter().for_each(|echo| self.line(4, &in_words(echo)));
        self.line(4, &format!("the router is gone when {detect_multiplier} in a row are missing"));
        self.ups_and_downs(session);
        self.line(4, &format!("without BFD of the router (RFC 9747), UDP port {}", session.port));
    }

    fn ups_and_downs(&mut self, session: &Session) {
        self.line(4, &format!("came up: {}, went down: {}", session.ups, session.downs));
    }

    fn session(&mut self, session: &Session) {
        if session.echo.as_ref().is_some_and(|echo| echo.unaffiliated) {
            self.unaffiliated(session);
            return;
        }
        let rows: [Row; 9] = [
            ("state", |end| end.state.clone()),
            ("diagnostic", |end| end.diagnostic.clone()),
            ("discriminator", |end| end.discriminator.to_string()),
            ("detect multiplier", |end| end.detect_multiplier.to_string()),
            ("wants to send every", |end| time(end.desired_min_tx)),
            ("accepts one every", |end| time(end.required_min_rx)),
            ("sends every", |end| end.transmit_interval.map_or_else(nothing, time)),
            ("  measured", |end| end.measured.as_ref().map_or_else(nothing, measured)),
            ("gives up after", |end| end.detection_time.map_or_else(nothing, time)),
        ];
        let cells = |value: fn(&End) -> String| {
            [value(&session.local), session.remote.as_ref().map_or_else(nothing, value)]
        };
        let width = rows.iter().map(|(_, value)| cells(*value)[0].len()).max().unwrap_or(0);
        self.line(4, &format!("{:19}  {:width$}  router", "", "this host"));
        for (name, value) in rows {
            let [here, there] = cells(value);
            self.line(4, &format!("{name:19}  {here:width$}  {there}"));
        }
        let mut text = format!("packets: {} sent, {} received", session.sent, session.received);
        for (number, (reason, count)) in session.dropped.iter().enumerate() {
            text += if number == 0 { "; dropped: " } else { ", " };
            let _ = write!(text, "{count} {reason}");
        }
        self.line(4, &text);
        self.ups_and_downs(session);
        if let (None, Some(last)) = (&session.remote, &session.remote_diagnostic) {
            self.line(4, &format!("the router last said: {last}"));
        }
        if let Some(echo) = &session.echo {
            self.line(4, &in_words(echo));
        }
        let kind = if session.multihop { "multihop" } else { "single hop" };
        let mut text = format!("{kind}, UDP port {}, TTL ", session.port);
        let _ = match session.minimum_ttl {
            u8::MAX => write!(text, "255"),
            ttl => write!(text, "at least {ttl}"),
        };
        for (end, text_of_end) in [
            (Some(&session.local), ", demand mode: the router is silent but for polls"),
            (session.remote.as_ref(), ", the router wants silence but for polls"),
        ] {
            if end.is_some_and(|end| end.demand) {
                text += text_of_end;
            }
        }
        if let Some(method) = &session.authentication {
            let _ = write!(text, ", signed by {method}");
        }
        self.line(4, &text);
    }
}

fn in_words(echo: &Echo) -> String {
    let Echo { interval, sent, returned, .. } = *echo;
    let every = interval.map_or_else(nothing, time);
    match echo.state {
        EchoState::Active => {
            let round_trip = echo.round_trip.as_ref();
            let took = round_trip.map_or_else(nothing, |took| micros(took.mean, took.longest));
            format!("echo: every {every}, {sent} sent, {returned} came back; {took}")
        }
        EchoState::Unanswered => format!(
            "echo: every {every}, {sent} sent, {returned} came back, not enough to go by: the router \
             may drop what goes to where it comes from (a reverse path check, or protection from \
             \"LAND\" attacks), or UDP port 3785"
        ),
        EchoState::Idle => "echo: not sent (session down, or the router wants none)".into(),
        EchoState::Impossible => {
            "echo: not sent (the router is not in the host's neighbour table, or this \
             host does not permit it: see the log)"
                .into()
        }
    }
}

/// "round trip 210µs (at most 1.2ms)"
fn micros(mean: f64, longest: f64) -> String {
    let [mean, longest] = [mean, longest].map(|seconds| {
        let exact = Duration::try_from_secs_f64(seconds).unwrap_or_default().as_micros();
        Duration::from_micros(u64::try_from(exact).unwrap_or(u64::MAX))
    });
    format!("round trip {mean:?} (at most {longest:?})")
}

/// What it is called, and what it is at one end.
type Row = (&'static str, fn(&End) -> String);

fn nothing() -> String {
    "-".into()
}

fn measured(measured: &Measured) -> String {
    let Measured { shortest, mean, longest } = *measured;
    format!("{} ({} to {})", time(mean), time(shortest), time(longest))
}

/// "300ms", "262.3ms", "1.5s"
fn time(seconds: f64) -> String {
    const STEP: u128 = 100;
    let exact = Duration::try_from_secs_f64(seconds).unwrap_or_default().as_micros();
    let rounded = u64::try_from((exact + STEP / 2) / STEP * STEP).unwrap_or(u64::MAX);
    format!("{:?}", Duration::from_micros(rounded))
}
