//! `lab demo` and `lab bench` do what they should, and leave nothing behind.

mod traces;

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use vipcast_lab::wait;

use traces::{Traces, sessions, traces};

const LAB: &str = env!("CARGO_BIN_EXE_lab");
const BOUND: Duration = Duration::from_secs(60);

/// `lab demo` or `lab bench`, running.
struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Running {
    fn start(verb: &str, options: &[&str]) -> Result<Self> {
        let binaries = Path::new(LAB).parent().context("lab is in a directory")?;
        ensure!(binaries.join("vipcastd").exists(), "vipcastd is not built: cargo build");
        let mut command = Command::new(LAB);
        command.arg(verb).arg("--binaries").arg(binaries).args(options);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let output = BufReader::new(child.stdout.take().context("no output")?);
        Ok(Self { child, output })
    }

    /// What it prints up to the line that begins so.
    fn read_until(&mut self, beginning: &str) -> Result<String> {
        let mut text = String::new();
        loop {
            let start = text.len();
            let length = self.output.read_line(&mut text)?;
            ensure!(length > 0, "it ended before {beginning:?}:\n{text}");
            if text[start..].starts_with(beginning) {
                return Ok(text);
            }
        }
    }

    /// A lab of its own, in the order in which it makes them, from 0.
    fn site(&self, number: usize) -> String {
        format!("vc{}-{number}", self.child.id())
    }
}

/// After SIGKILL the guard needs a moment.
fn expect_nothing_left(site: &str, sessions: &[u32]) -> Result<()> {
    let gone = wait::until_true("nothing is left", BOUND, || {
        Ok(traces(site, sessions)? == Traces::default())
    });
    gone.with_context(|| format!("{:?}", traces(site, sessions)))
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn the_demo_shows_every_change_and_leaves_nothing() -> Result<()> {
    let mut demo = Running::start("demo", &[])?;
    let site = demo.site(0);
    let mut text = demo.read_until("1  ")?;
    let sessions = sessions(&site);
    let found = traces(&site, &sessions)?;
    ensure!(found.namespaces.len() == 6 && found.processes.len() > 10, "not running: {found:?}");
    demo.output.read_to_string(&mut text)?;
    let status = demo.child.wait()?;
    ensure!(status.success(), "{status}:\n{text}");
    // Without a terminal there are no colours; nothing is too long for the narrowest one.
    ensure!(!text.contains('\x1b'), "{text}");
    let longest = text.lines().map(|line| line.chars().count()).max();
    ensure!(longest.is_some_and(|length| length <= 80), "{longest:?}:\n{text}");
    let lost = text.lines().filter(|line| line.starts_with("   host") && line.contains(" of "));
    ensure!(lost.count() == 5, "not five changes in the table:\n{text}");
    assert_eq!(traces(&site, &sessions)?, Traces::default());
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn an_interrupted_demo_leaves_nothing() -> Result<()> {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGKILL] {
        for step in ["2  ", "4  "] {
            let mut demo = Running::start("demo", &[])?;
            let site = demo.site(0);
            demo.read_until(step)?;
            let sessions = sessions(&site);
            ensure!(!sessions.is_empty(), "there is no {site}");
            kill(Pid::from_raw(i32::try_from(demo.child.id())?), signal)?;
            let status = demo.child.wait()?;
            let by_itself = status.code() == Some(128 + signal as i32);
            ensure!(by_itself || status.signal() == Some(signal as i32), "{signal}: {status}");
            expect_nothing_left(&site, &sessions).with_context(|| format!("{signal}"))?;
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root and network namespaces: sudo lab/test"]
fn a_benchmark_gives_every_value_as_json() -> Result<()> {
    let options = ["--runs", "1", "--seconds", "2", "--only", "decision", "--json", "-"];
    let mut bench = Running::start("bench", &options)?;
    // One after the other, for each kind of router.
    let sites = [bench.site(0), bench.site(1)];
    let mut text = String::new();
    bench.output.read_to_string(&mut text)?;
    ensure!(bench.child.wait()?.success(), "{text}");
    let json: Value = serde_json::from_str(&text).context(text)?;
    ensure!(json["machine"]["cores"].is_u64() && json["machine"]["kernel"].is_string(), "{json}");
    ensure!(json["versions"].as_array().is_some_and(|versions| versions.len() == 3), "{json}");
    let rows = json["rows"].as_array().context("no rows")?;
    // Of BIRD and FRR routers: gone and back, by two clocks and of BIRD in vipcastd's place.
    assert_eq!(rows.len(), 12, "{json}");
    for row in rows {
        let words = ["what", "announcer", "how", "unit"];
        ensure!(words.iter().all(|key| row[key].is_string()), "{row}");
        ensure!(["min", "median", "max"].iter().all(|key| row[key].is_number()), "{row}");
        ensure!(row["samples"].as_array().is_some_and(|samples| samples.len() == 1), "{row}");
        ensure!(row["aim"].is_null() == row["missed"].is_null(), "{row}");
    }
    assert_eq!(rows.iter().filter(|row| row["aim"].is_number()).count(), 2, "{json}");
    sites.iter().try_for_each(|site| expect_nothing_left(site, &[]))
}
